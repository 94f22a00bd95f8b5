package conductor

import (
	"context"
	"fmt"
	"slices"

	"leasehold/coord"
	"leasehold/locks"
	"leasehold/vm"
)

// tryDelete admits a delete. It does not wait for whatever runs: the same transaction closes the running task, takes its
// claim away and rewrites its locks. The old driver's writes fail on the claim's compare, the agents refuse its fence. P4
func (a *admission) tryDelete(ctx context.Context, found *foundInstance) (*Admitted, error) {
	in := found.rec
	if found.gone {
		// There is nothing to do, so there is no task, unless this very request was the one that deleted it. P5
		if used, err := a.keyUsed(ctx); used != nil || err != nil {
			return used, err
		}
		return &Admitted{Instance: in, Revision: found.mod, InstRev: found.mod}, nil
	}
	if in.DeleteProtection && in.HiddenAt == nil {
		return nil, vm.Refuse(vm.ReasonStateForbids,
			"cannot delete instance %s: it is protected; set delete_protection to false first", in.ID)
	}
	running, rmod, err := a.runningTask(ctx, in)
	if err != nil {
		return nil, err
	}
	if running != nil && running.Kind == vm.Delete {
		return a.join(ctx, found, running, rmod)
	}
	set, err := closure(in)
	if err != nil {
		return nil, err
	}
	task, err := a.newTask(in, set)
	if err != nil {
		return nil, err
	}
	task.Prior = in.State
	task.Hosts = slices.Clone(in.Footprint)

	t := &coord.Txn{Name: "delete.admit"}
	t.If(a.c.generation().guard, coord.Unchanged(a.c.keys.Instance(in.ID), found.mod)) // mutant:reservation-compare
	next := in.Clone()
	if running == nil {
		t.If(set.Unlocked(a.c.keys)...)
	} else {
		// What the running task has reserved is inherited, so it must be known as of that task's record.
		if err := a.c.cache.WaitRevision(ctx, rmod); err != nil {
			return nil, err
		}
		a.preempt(t, task, next, running, rmod)
		set = lockSet(task) // what the running task had taken beside is inherited with its locks
	}
	next.Task, next.TaskState, next.UpdatedAt = task.ID, vm.Deleting, a.now
	a.reserveKey(t, in.ID)
	s, err := a.drive(t, task, set)
	if err != nil {
		return nil, err
	}
	t.Then(coord.Put(a.c.keys.Task(task.ID), task).Witness(), coord.Put(a.c.keys.Instance(in.ID), next))
	out, err := a.commit(ctx, t, s, task, set, next)
	if err == nil && running != nil {
		a.c.metrics.preempted.Inc()
		if w := a.c.workers.get(running.ID); w != nil {
			w.stop(errLost)
		}
	}
	return out, err
}

// join answers a delete with the one that runs already. Its idempotency key, when it has one, stands for that task from
// now on. P5
func (a *admission) join(ctx context.Context, found *foundInstance, running *vm.Task, mod int64) (*Admitted, error) {
	if used, err := a.keyUsed(ctx); used != nil || err != nil {
		return used, err
	}
	if a.order.Key != "" {
		key := a.c.keys.Request(a.order.Project, a.order.Key)
		t := &coord.Txn{Name: "delete.join"}
		t.If(coord.Absent(key), coord.Unchanged(a.c.keys.Task(running.ID), mod))
		t.Then(coord.Put(key, vm.Request{
			Schema: vm.Schema, Task: running.ID, Instance: found.rec.ID, Digest: a.digest, At: a.now,
		}).Witness())
		if _, err := a.c.store.Commit(ctx, t); err != nil {
			return nil, err
		}
	}
	return &Admitted{Instance: found.rec, Task: running, Revision: found.mod, InstRev: found.mod}, nil
}

// preempt adds to the delete's admission what closes the running task. The delete inherits the hosts it touched and what
// it had reserved.
func (a *admission) preempt(t *coord.Txn, task *vm.Task, in *vm.Instance, running *vm.Task, mod int64) {
	closed := running.Clone()
	a.c.signLast(closed, mod)
	closed.Status, closed.EndedAt, closed.UpdatedAt = vm.TaskCancelled, &a.now, a.now
	closed.Waiting, closed.Progress = nil, nil
	closed.Error = &vm.Fault{
		Reason: vm.ReasonPreempted, Task: task.ID, Since: a.now,
		Message: fmt.Sprintf("closed by task %s, which deletes the instance", task.ID),
	}
	task.Cancels = running.ID
	a.dropSaved(t, task, running)
	task.Shared = slices.Clone(running.Shared)
	for _, h := range running.Hosts {
		if !slices.Contains(task.Hosts, h) {
			task.Hosts = append(task.Hosts, h)
		}
		if !slices.Contains(in.Footprint, h) {
			in.Footprint = append(in.Footprint, h)
		}
	}
	t.If(coord.Unchanged(a.c.keys.Task(running.ID), mod))
	t.Then(
		coord.Delete(a.c.keys.Task(running.ID)),
		coord.Delete(a.c.keys.Cancel(running.ID)),
		coord.Delete(a.c.keys.Claim(running.ID)),
		coord.Put(a.c.keys.History(running.ID), closed),
		coord.Put(a.c.keys.Index(vm.Resource{Kind: vm.KindInstance, ID: string(in.ID)}, running.ID),
			indexEntry{vm.Schema, running.ID, running.Kind, closed.Status, a.now}),
	)
	// Its locks are rewritten by this task's claim, which covers the same: what belongs to the instance cannot change while
	// a task has it. Its tickets go.
	if running.Status == vm.TaskWaiting {
		t.Then(locks.Dequeue(a.c.keys, running.Shared, running.ID)...)
		task.Shared = nil
		return
	}
	for _, r := range running.Shared {
		if v, e, ok := coord.Load[vm.Volume](a.c.cache, a.c.keys.Record(r)); ok && v.Task == running.ID {
			taken := *v
			taken.Task, taken.UpdatedAt = task.ID, a.now
			t.If(coord.Unchanged(e.Key, e.Mod))
			t.Then(coord.Put(e.Key, taken))
		}
	}
}

// runningTask is the task that the instance is reserved for, as etcd or the cache has it; nil when there is none. A cache
// that does not know it, or knows an older form, only costs a refused transaction.
func (a *admission) runningTask(ctx context.Context, in *vm.Instance) (*vm.Task, int64, error) {
	if in.Task == "" {
		return nil, 0, nil
	}
	kv, err := a.c.store.Get(ctx, a.c.keys.Task(in.Task))
	if err != nil {
		return nil, 0, err
	}
	t := new(vm.Task)
	if err := kv.Decode(t); err != nil {
		return nil, 0, err
	}
	return t, kv.Mod, nil
}
