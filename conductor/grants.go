package conductor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"leasehold/coord"
	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/vm"
)

// queueChanged says whether a change may have made a waiting task eligible: a ticket came or went, or a reservation of
// what may be shared was given back.
func (o *orphans) queueChanged(ch coord.Change) bool {
	switch ch.Table {
	case coord.Queue:
		return true
	case coord.Volumes:
		if o.c.cache.Count(coord.Queue) == 0 {
			return false
		}
		if ch.Now == nil {
			return true
		}
		v, err := coord.Decoded[vm.Volume](ch.Now)
		return err == nil && v.Task == ""
	default:
		return false
	}
}

// queueLook is what orphans knows of the queues.
type queueLook struct {
	changed atomic.Bool // since the last look, so one look answers any number of changes
	heads   atomic.Pointer[locks.Heads]
}

// noteQueues has the queues looked at soon. It is all that the cache's goroutine does for them.
func (o *orphans) noteQueues() {
	o.queues.changed.Store(true)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// lookAtQueues, when something changed, schedules every task that could begin now, each at the one conductor whose turn it
// is. Every ticket is read once and only the heads are looked at closer, so a hundred waiters cost what one does.
func (o *orphans) lookAtQueues() {
	if !o.queues.changed.Swap(false) {
		return
	}
	heads := o.c.queue.Heads(o.c.keys)
	o.queues.heads.Store(&heads)
	serving := o.c.members.Serving()
	for _, id := range heads.Tasks() {
		if _, _, ok := o.eligible(id); ok {
			o.look(id, time.Duration(liveness.Rank(string(id), o.c.cfg.Name, serving))*rankDelay)
		}
	}
}

// eligible says whether, in the cache, a waiting task is first in every queue it stands in, as of the last look, and all it
// waits for is free. One that the look was too early for is found by the next.
func (o *orphans) eligible(id vm.TaskID) (*vm.Task, *coord.Entry, bool) {
	heads := o.queues.heads.Load()
	task, e, ok := coord.Load[vm.Task](o.c.cache, o.c.keys.Task(id))
	if !ok || task.Status != vm.TaskWaiting || heads == nil || !heads.First(task.Shared, id) {
		return nil, nil, false
	}
	for _, r := range task.Shared {
		if v, _, found := coord.Load[vm.Volume](o.c.cache, o.c.keys.Record(r)); !found || v.Task != "" {
			return nil, nil, false
		}
	}
	return task, e, true
}

// grant starts a waiting task: its tickets become reservations, claim and locks in one transaction. A waiting task starts
// in no other way.
func (o *orphans) grant(ctx context.Context, id vm.TaskID) {
	task, te, ok := o.eligible(id)
	if !ok {
		return // whatever makes it eligible has the queues looked at again
	}
	s := o.c.keeper.Current()
	if s == nil || s.Trusted() != nil || !o.c.hasRoom() {
		o.look(id, rankDelay)
		return
	}
	now := time.Now().UTC()
	next := task.Clone()
	next.Status, next.Waiting, next.UpdatedAt = vm.TaskRunning, nil, now
	next.AddAttempt(vm.Attempt{Conductor: o.c.cfg.Name, Since: now, Why: whyGranted})

	t := &coord.Txn{Name: "grant"}
	t.If(o.c.generation().guard, coord.Unchanged(te.Key, te.Mod))
	in, e, ok := coord.Load[vm.Instance](o.c.cache, o.c.keys.Instance(task.Instance))
	if !ok || in.Task != id {
		return
	}
	t.If(coord.Unchanged(e.Key, e.Mod))
	for _, r := range task.Shared {
		t.If(coord.Present(o.c.keys.Ticket(r, id)))
	}
	if !o.c.takeShared(t, id, task.Shared, now) {
		return
	}
	set := lockSet(next)
	guard, writes := set.Claim(o.c.keys, s, id, now)
	t.If(guard).Then(coord.Put(te.Key, next).Witness()).Then(writes...)
	t.Then(locks.Dequeue(o.c.keys, task.Shared, id)...)

	ctx, end := during(ctx, s)
	defer end()
	rev, err := o.c.store.Commit(ctx, t)
	if conflict, refused := errors.AsType[*coord.ConflictError](err); refused {
		o.c.log.Debug("did not grant", "task", id, "changed", conflict.Failed)
		return
	}
	if err != nil {
		o.c.log.Warn("cannot grant", "task", id, "error", err)
		return
	}
	held := locks.Hold(o.c.keys, id, vm.Fence{Generation: o.c.generation().Generation, Revision: rev}, set, o.c.generation().guard)
	o.c.begin(s, held, next, rev, in.Clone(), e.Mod, whyGranted)
}

// takeShared reserves shared resources for a task, comparing that each is free. ok is false when the cache shows one that
// is not.
func (c *Conductor) takeShared(t *coord.Txn, id vm.TaskID, shared []vm.Resource, now time.Time) bool {
	for _, r := range shared {
		v, e, ok := coord.Load[vm.Volume](c.cache, c.keys.Record(r))
		if !ok || v.Task != "" {
			return false
		}
		taken := *v
		taken.Task, taken.UpdatedAt = id, now
		t.If(coord.Unchanged(e.Key, e.Mod))
		t.Then(coord.Put(e.Key, taken))
	}
	return true
}

// wait makes an admission one that waits: tickets instead of claim and reservations of what is shared.
func (a *admission) wait(t *coord.Txn, task *vm.Task, busy vm.Resource) {
	task.Status = vm.TaskWaiting
	task.Waiting = a.c.waitFor(task.ID, busy, a.now)
	for _, r := range task.Shared {
		t.If(coord.Present(a.c.keys.Record(r)))
	}
	t.Then(locks.Enqueue(a.c.keys, task.Shared, task.ID, a.now)...)
}

// waitFor says what a task waits for, and who has it.
func (c *Conductor) waitFor(id vm.TaskID, r vm.Resource, now time.Time) *vm.Wait {
	w := &vm.Wait{Reason: vm.ReasonInUse, Since: now, On: &r, Message: "waiting for " + r.String()}
	if v, _, ok := coord.Load[vm.Volume](c.cache, c.keys.Record(r)); ok && v.Task != "" {
		w.Holder = "task " + string(v.Task)
	} else if p, first := c.queue.Ahead(c.keys, r, id); !first {
		w.Holder = "task " + string(p.Task) + ", which is ahead"
	}
	return w
}

// busyShared returns a shared resource that is taken, or waited for by somebody else.
func (c *Conductor) busyShared(shared []vm.Resource) (vm.Resource, bool) {
	for _, r := range shared {
		v, _, ok := coord.Load[vm.Volume](c.cache, c.keys.Record(r))
		if ok && v.Task != "" || len(c.queue.Line(c.keys, r)) > 0 {
			return r, true
		}
	}
	return vm.Resource{}, false
}

// lockSet is what a task that runs has locked: its closure and the shared resources it has taken.
func lockSet(t *vm.Task) locks.Set {
	set := slices.Concat(t.Resources, t.Shared)
	slices.SortFunc(set, vm.Resource.Compare)
	return locks.Set(slices.Compact(set))
}
