package tasks

import (
	"context"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/vm"
	"leasehold/workflow"
)

// SnapshotParams are the durable parameters of a snapshot.
type SnapshotParams struct {
	Image vm.ImageID `json:"image"` // whose record the admission has made
}

// snapshot copies the disk at one moment, which is all that the machine is needed for, and then makes an image of the copy.
// The image's record ends with the task: complete, or not there.
func snapshot() Kind {
	return Kind{
		Verb: vm.Snapshot,
		Flow: workflow.Flow[*Work]{Name: string(vm.Snapshot), Steps: []workflow.Step[*Work]{
			{Name: "copy", Resume: workflow.Probe, Tries: 2, Backoff: time.Second, Do: copyDisk, Undo: dropImage, Probe: copied},
			{Name: "upload", Resume: workflow.Probe, Tries: 3, Backoff: time.Second, Do: export, Undo: dropImage, Probe: exported},
		}},
		States: map[string]vm.TaskState{"copy": vm.ImageSnapshot, "upload": vm.ImageUploading},
		Settle: settleSnapshot,
	}
}

func copyDisk(ctx context.Context, w *Work, beat workflow.Beat) error {
	return w.onImage(ctx, "copy", beat, func(r *computev1.RunRequest, image string) {
		r.Action = &computev1.RunRequest_Snapshot{Snapshot: &computev1.SnapshotMachine{ImageId: image}}
	})
}

// copied goes by the agent's journal: a copy that is there may be half of one.
func copied(ctx context.Context, w *Work) (workflow.Verdict, error) {
	seen, err := w.look(ctx, w.Instance.Host)
	if err == nil && w.answered(seen, "copy") {
		return workflow.Done, nil
	}
	return workflow.NotDone, err
}

func export(ctx context.Context, w *Work, beat workflow.Beat) error {
	var p SnapshotParams
	if err := params(w.Task, &p); err != nil {
		return err
	}
	host := w.Instance.Host
	result, err := w.ask(ctx, host, func(r *computev1.RunRequest) {
		r.Step = "upload"
		r.Action = &computev1.RunRequest_Export{Export: &computev1.ExportSnapshot{ImageId: string(p.Image)}}
	}, beat)
	if err != nil {
		return err
	}
	if w.Saves == nil || result.GetImage() == nil {
		return vm.Refuse(vm.ReasonInternal, "internal error: cannot note image %s: its record or the agent's word on it is missing", p.Image)
	}
	w.Saves.URL, w.Saves.Host = "host://"+string(host)+"/"+string(p.Image), host
	w.Saves.SizeBytes, w.Saves.SHA256, w.Saves.Format = result.GetImage().GetSizeBytes(), result.GetImage().GetSha256(), result.GetImage().GetFormat()
	return nil
}

// exported ends what is under way there. Whether it was done does not matter: the agent has to tell size and digest, and
// making a complete image again makes nothing.
func exported(ctx context.Context, w *Work) (workflow.Verdict, error) {
	_, err := w.look(ctx, w.Instance.Host)
	return workflow.NotDone, err
}

func dropImage(ctx context.Context, w *Work, beat workflow.Beat) error {
	if w.Host(w.Instance.Host) == Removed {
		return nil
	}
	return w.onImage(ctx, "drop", beat, func(r *computev1.RunRequest, image string) {
		r.Action = &computev1.RunRequest_Drop{Drop: &computev1.DropSnapshot{ImageId: image}}
	})
}

// onImage has the instance's host do one step for the image that the task makes.
func (w *Work) onImage(ctx context.Context, step string, beat workflow.Beat, do func(r *computev1.RunRequest, image string)) error {
	var p SnapshotParams
	if err := params(w.Task, &p); err != nil {
		return err
	}
	return w.onHost(ctx, step, func(_ *Work, r *computev1.RunRequest) error { do(r, string(p.Image)); return nil }, beat)
}

func settleSnapshot(w *Work, out workflow.Outcome) {
	if out.Result != workflow.Succeeded {
		w.land(out)
		return
	}
	w.Saves.Status, w.Saves.Task, w.Saves.UpdatedAt = vm.ImageActive, "", w.Now()
	w.succeed()
}
