package tasks

import (
	"context"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/vm"
	"leasehold/workflow"
)

// rebuild makes the disk anew in the first step, which ends the machine at its last moment: until then the old disk is
// whole. The second starts what is to run; with the new disk in place there is no way back.
func rebuild() Kind {
	return Kind{
		Verb: vm.Rebuild,
		Flow: workflow.Flow[*Work]{Name: string(vm.Rebuild), Steps: []workflow.Step[*Work]{
			{Name: "rebuild", Resume: workflow.Redo, Tries: 2, Backoff: time.Second, Do: remake, Undo: find},
			{Name: "spawn", Resume: workflow.Redo, Tries: 3, Backoff: time.Second, Do: respawn, Undo: find, NoReturn: true},
		}},
		States: map[string]vm.TaskState{"rebuild": vm.Rebuilding, "spawn": vm.RebuildingSpawning},
		Settle: settleRebuild,
	}
}

func remake(ctx context.Context, w *Work, beat workflow.Beat) error {
	err := w.onHost(ctx, "rebuild", func(w *Work, r *computev1.RunRequest) error {
		r.Action = &computev1.RunRequest_Rebuild{Rebuild: &computev1.RebuildMachine{Spec: machineSpec(w.Instance, w.Image)}}
		return needsImage(w)
	}, beat)
	if err == nil {
		w.Instance.Image = w.Image.ID
		w.keepRescue("")
	}
	return err
}

// respawn starts the machine, unless it is to stay off: the table says what a rebuild of its state leads to.
func respawn(ctx context.Context, w *Work, beat workflow.Beat) error {
	if w.Task.Prior == vm.Stopped {
		return nil
	}
	return w.onHost(ctx, "spawn", func(_ *Work, r *computev1.RunRequest) error {
		r.Action = &computev1.RunRequest_Start{Start: &computev1.StartMachine{}}
		return nil
	}, beat)
}

func settleRebuild(w *Work, out workflow.Outcome) {
	switch {
	case out.Result == workflow.Succeeded:
		w.succeed()
	case w.Instance.TaskState == vm.RebuildingSpawning:
		w.failed(out)
	default:
		w.land(out)
	}
}
