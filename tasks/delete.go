package tasks

import (
	"cmp"
	"context"
	"slices"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/vm"
	"leasehold/workflow"
)

// DeleteParams are the durable parameters of a delete.
type DeleteParams struct {
	Images []vm.ImageID `json:"images,omitempty"` // half-made ones of a snapshot that it preempted
}

// remove is the task of the verb delete. It preempts: the task it closed may have left anything on any host it touched.
func remove() Kind {
	return Kind{
		Verb: vm.Delete,
		Flow: workflow.Flow[*Work]{Name: string(vm.Delete), Steps: []workflow.Step[*Work]{
			// A delete never gives up: what it cannot remove now it tries again, and says so meanwhile (P4, P6).
			{
				Name: "teardown", Resume: workflow.Redo, Do: teardown, NoReturn: true,
				Tries: 1 << 30, Backoff: time.Second, MaxBackoff: 30 * time.Second,
			},
		}},
		States: map[string]vm.TaskState{"teardown": vm.Deleting},
		Settle: settleDelete,
	}
}

// teardown removes the machine from every host that may hold anything of it and leaves a tombstone there, so that no
// command that is still on its way brings it back. P2, P6
func teardown(ctx context.Context, w *Work, beat workflow.Beat) error {
	var p DeleteParams
	if err := params(w.Task, &p); err != nil {
		return err
	}
	// A host that is down is waited for behind those that are up.
	hosts := slices.Clone(w.Instance.Footprint)
	slices.SortStableFunc(hosts, func(a, b vm.HostName) int { return cmp.Compare(w.Host(a), w.Host(b)) })
	for _, host := range hosts {
		if w.Host(host) == Removed {
			w.cleared(host)
			continue
		}
		// A preempted task may have left work that is still going on there, and so may a try of this one that was given up.
		if w.Task.Cancels != "" || w.triedBefore() {
			if _, err := w.Fence(ctx, host, true, beat); err != nil {
				return stubborn(err)
			}
		}
		err := w.act(ctx, host, func(r *computev1.RunRequest) {
			r.Step = "teardown"
			r.Action = &computev1.RunRequest_Destroy{Destroy: &computev1.DestroyMachine{Tombstone: true, Images: words(p.Images)}}
		}, beat)
		if err != nil {
			return stubborn(err)
		}
		w.cleared(host)
	}
	return nil
}

// cleared notes that nothing is left on a host. Its room is free, though other hosts may still be waited for.
func (w *Work) cleared(host vm.HostName) {
	w.clean(host)
	w.Instance.Remains = slices.DeleteFunc(slices.Clone(w.Instance.Remains), func(h vm.HostName) bool { return h == host })
	if host == w.Instance.Host {
		w.Free = append(w.Free, host)
		w.Instance.Host = ""
	}
}

// Hide makes a delete that has to wait for a host done as far as people can see: the instance is deleted, its name is free,
// and the record says which hosts may still hold something of it. Its room there stays taken until they are proven clean.
func (w *Work) Hide(host vm.HostName) {
	in := w.Instance
	if !slices.Contains(in.Remains, host) {
		in.Remains = append(slices.Clone(in.Remains), host)
	}
	if in.HiddenAt == nil {
		now := w.Now()
		in.HiddenAt = &now
		w.Unname = true
		w.enter(vm.Deleted)
	}
}

// triedBefore says whether the step that is under way has failed before.
func (w *Work) triedBefore() bool {
	n := len(w.Task.Steps)
	return n > 0 && w.Task.Steps[n-1].Try > 1
}

// stubborn makes a refusal one more try, because a delete never gives up (P4). What says that this conductor is not the
// one to try is left to another: it was replaced, or it cannot reach the host (P3).
func stubborn(err error) error {
	switch vm.ReasonOf(err) {
	case vm.ReasonStaleFence, vm.ReasonWrongEpoch, vm.ReasonStoreUnavailable:
		return workflow.Abandon(err)
	default:
		return workflow.Retryable(err)
	}
}

func settleDelete(w *Work, out workflow.Outcome) {
	if out.Result != workflow.Succeeded {
		w.failed(out)
		return
	}
	w.succeed()
	w.Gone = true
}
