package tasks

import (
	"context"
	"fmt"
	"math"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/scheduler"
	"leasehold/vm"
	"leasehold/workflow"
)

// CreateParams are the durable parameters of a create.
type CreateParams struct {
	Host vm.HostName `json:"host,omitempty"` // place it here and nowhere else
}

// tryHosts is how many hosts a create tries before it gives up: the first, and two more.
const tryHosts = 3

func create() Kind {
	return Kind{
		Verb: vm.Create,
		Flow: workflow.Flow[*Work]{Name: string(vm.Create), Steps: []workflow.Step[*Work]{
			{Name: "place", Resume: workflow.Redo, Pure: true, Do: place, Undo: unplace},
			{
				Name: "spawn", Resume: workflow.Probe, Do: spawn, Undo: unspawn, Probe: spawned,
				Tries: 2, Backoff: time.Second, Else: "place", Rounds: tryHosts - 1,
			},
		}},
		States: map[string]vm.TaskState{"place": vm.Scheduling, "spawn": vm.Spawning},
		Settle: settleCreate,
	}
}

// place chooses a host and promises it the instance; both are committed together, so no host is promised twice. A lost
// compare runs it again on fresher numbers.
func place(_ context.Context, w *Work, _ workflow.Beat) error {
	var p CreateParams
	if err := params(w.Task, &p); err != nil {
		return err
	}
	d, err := scheduler.Place(scheduler.Request{
		Instance: w.Instance.ID, Size: w.Instance.Size, Host: p.Host, Exclude: w.Refused,
	}, w.Candidates())
	if err != nil {
		return workflow.Permanent(err)
	}
	w.Instance.Host = d.Host
	w.Promise = d.Host
	w.touch(d.Host)
	return nil
}

// unplace gives the promise back. A spawn that was begun there has been undone before, so the host holds nothing; the
// record forgets that it is there, and that it may hold something, at once.
func unplace(_ context.Context, w *Work, _ workflow.Beat) error {
	if w.Instance.Host != "" {
		w.Free = append(w.Free, w.Instance.Host)
		w.clean(w.Instance.Host)
		w.Instance.Host = ""
	}
	w.Promise = ""
	return nil
}

func spawn(ctx context.Context, w *Work, beat workflow.Beat) error {
	host := w.Instance.Host
	err := w.act(ctx, host, func(r *computev1.RunRequest) {
		r.Step = "spawn"
		r.Action = &computev1.RunRequest_Create{Create: &computev1.CreateMachine{Spec: machineSpec(w.Instance, w.Image)}}
	}, beat)
	if err != nil && w.Refused == nil {
		w.Refused = map[vm.HostName]string{}
	}
	if err != nil {
		w.Refused[host] = err.Error()
	}
	return err
}

// unspawn removes what a failed spawn left. The instance may be made again there, so no tombstone. On a host that was taken
// out there is nothing left to remove, and nobody who could.
func unspawn(ctx context.Context, w *Work, beat workflow.Beat) error {
	host := w.Instance.Host
	if host == "" || w.Host(host) == Removed {
		return nil
	}
	return w.act(ctx, host, func(r *computev1.RunRequest) {
		r.Step = "unspawn"
		r.Action = &computev1.RunRequest_Destroy{Destroy: &computev1.DestroyMachine{}}
	}, beat)
}

func spawned(ctx context.Context, w *Work) (workflow.Verdict, error) {
	seen, err := w.look(ctx, w.Instance.Host)
	if err != nil {
		return workflow.NotDone, err
	}
	if vm.PowerState(seen.GetPowerState()) == vm.PowerRunning {
		return workflow.Done, nil
	}
	return workflow.NotDone, nil
}

func settleCreate(w *Work, out workflow.Outcome) {
	if out.Result == workflow.Succeeded {
		w.succeed()
		return
	}
	w.failed(out)
}

func machineSpec(in *vm.Instance, img *vm.Image) *computev1.MachineSpec {
	spec := &computev1.MachineSpec{
		Id: string(in.ID), Name: in.Name, Vcpus: int32(min(in.Size.VCPUs, math.MaxInt32)),
		MemoryMib: int64(in.Size.MemoryMiB), DiskGib: int64(in.Size.DiskGiB), Metadata: in.Metadata,
	}
	spec.Image = imageSource(img)
	return spec
}

// imageSource is where a disk's content comes from; nil for an image that is no more, which the agent refuses.
func imageSource(img *vm.Image) *computev1.ImageSource {
	if img == nil {
		return nil
	}
	return &computev1.ImageSource{
		Id: string(img.ID), Name: img.Name, Url: img.URL, Format: img.Format, Sha256: img.SHA256,
	}
}

func errNoHost(in *vm.Instance) error {
	return workflow.Permanent(vm.Refuse(vm.ReasonStateForbids,
		"cannot act on instance %s: it was never placed on a host", in.ID))
}

func params(t *vm.Task, into any) error {
	if err := decode(t.Params, into); err != nil {
		return workflow.Permanent(fmt.Errorf("internal error: cannot read the parameters of task %s: %w", t.ID, err))
	}
	return nil
}
