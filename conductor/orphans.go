package conductor

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"leasehold/coord"
	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/vm"
)

const (
	// rankDelay is what each rank waits longer for an orphan than the one before: time for a claim to be written and seen.
	rankDelay = 300 * time.Millisecond
	// sweepEvery is how often the cache, not etcd, is searched for what an event did not lead to.
	sweepEvery = 5 * time.Second
	// avoidFor is how long a task that this conductor handed back ranks it last.
	avoidFor = 10 * time.Second
)

// orphans finds open tasks that nobody drives, and claims of this session that have no worker, and mends both. P3
type orphans struct {
	c *Conductor

	mu       sync.Mutex
	due      map[vm.TaskID]time.Time
	inFlight map[vm.TaskID]int // admissions and takeovers whose commit has not answered
	avoided  map[vm.TaskID]time.Time
	queues   queueLook
	wake     chan struct{}
}

func newOrphans(c *Conductor) *orphans {
	return &orphans{
		c: c, due: map[vm.TaskID]time.Time{}, inFlight: map[vm.TaskID]int{}, avoided: map[vm.TaskID]time.Time{},
		wake: make(chan struct{}, 1),
	}
}

// changed is told every change of the cache; it only notes which tasks to look at, and when.
func (o *orphans) changed(changes []coord.Change) {
	queues := false
	for _, ch := range changes {
		queues = queues || o.queueChanged(ch)
		switch ch.Table {
		case coord.Tasks, coord.Claims:
			id := vm.TaskID(ch.Rest)
			switch {
			case o.orphaned(id):
				o.look(id, o.delay(id))
			case ch.Table == coord.Claims && ch.Now != nil && o.ours(ch.Now) && o.c.workers.get(id) == nil:
				o.look(id, 0) // a commit that has not answered yet, or a claim without a worker
			}
		default:
		}
	}
	if queues {
		o.noteQueues()
	}
}

// orphaned says whether, in the cache, the task is open, not waiting, and nobody's.
func (o *orphans) orphaned(id vm.TaskID) bool {
	// The claim first: nearly every change is one of a task that has it, and then its record need not be decoded.
	if _, claimed := o.c.cache.Entry(o.c.keys.Claim(id)); claimed {
		return false
	}
	t, _, ok := coord.Load[vm.Task](o.c.cache, o.c.keys.Task(id))
	return ok && (t.Status == vm.TaskQueued || t.Status == vm.TaskRunning)
}

// delay is this conductor's turn for a task: the first in rank goes at once, the others later and only if it is still there.
func (o *orphans) delay(id vm.TaskID) time.Duration {
	d := time.Duration(o.c.members.Rank(string(id), o.c.cfg.Name)) * rankDelay
	o.mu.Lock()
	defer o.mu.Unlock()
	if until, ok := o.avoided[id]; ok {
		if time.Now().Before(until) {
			d += avoidFor / 2
		}
	}
	return d
}

// avoid ranks this conductor last for a task for a while.
func (o *orphans) avoid(id vm.TaskID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.avoided[id] = time.Now().Add(avoidFor)
}

func (o *orphans) look(id vm.TaskID, in time.Duration) {
	o.mu.Lock()
	at := time.Now().Add(in)
	if was, ok := o.due[id]; !ok || at.Before(was) {
		o.due[id] = at
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// pending marks a task whose claim may appear before its commit has answered; the returned function ends that.
func (o *orphans) pending(id vm.TaskID) (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inFlight[id]++
	return func() { o.landed(id) }
}

// landed ends what pending began. Without a worker the task is looked at again, in case the answer was lost: not at once,
// because then the cache would not know more than before.
func (o *orphans) landed(id vm.TaskID) {
	o.mu.Lock()
	if o.inFlight[id]--; o.inFlight[id] == 0 {
		delete(o.inFlight, id)
	}
	o.mu.Unlock()
	if o.c.workers.get(id) == nil && (o.orphaned(id) || o.unattended(id)) {
		o.look(id, rankDelay)
	}
}

// unattended says whether, in the cache, a task is claimed by this very session. Asked of one without a worker.
func (o *orphans) unattended(id vm.TaskID) bool {
	e, ok := o.c.cache.Entry(o.c.keys.Claim(id))
	return ok && o.ours(e)
}

// ours says whether a claim hangs on this session's lease.
func (o *orphans) ours(claim *coord.Entry) bool {
	s := o.c.keeper.Current()
	return s != nil && claim.Lease == s.Lease()
}

// mendAtOnce is how many orphans are mended at the same time: one transaction that hangs must not keep the others waiting,
// and a conductor that dies may leave thousands.
const mendAtOnce = 32

// run looks at what is due until ctx ends.
func (o *orphans) run(ctx context.Context) error {
	var mending errgroup.Group
	mending.SetLimit(mendAtOnce)
	defer mending.Wait() //nolint:errcheck // they return none
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		o.lookAtQueues()
		ready, next := o.ready()
		for _, id := range ready {
			mending.Go(func() error { o.mend(ctx, id); return nil })
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.wake:
		case <-timer.C:
		case <-sweep.C:
			o.sweep()
		}
	}
}

func (o *orphans) ready() (ids []vm.TaskID, next time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	next = time.Hour
	for id, at := range o.due {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		ids = append(ids, id)
		delete(o.due, id)
	}
	return ids, next
}

// sweep catches what events missed: orphans, and claims of this session without a worker.
func (o *orphans) sweep() {
	for _, e := range o.c.cache.Entries(coord.Tasks) {
		_, rest, _ := o.c.keys.Split(e.Key)
		if id := vm.TaskID(rest); o.orphaned(id) {
			o.look(id, o.delay(id))
		}
	}
	for _, e := range o.c.cache.Entries(coord.Claims) {
		_, rest, _ := o.c.keys.Split(e.Key)
		if o.ours(e) {
			o.look(vm.TaskID(rest), 0)
		}
	}
	o.queues.changed.Store(true) // whatever the events said
	o.lookAtQueues()
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.avoided, func(_ vm.TaskID, until time.Time) bool { return time.Now().After(until) })
}

// mend takes an orphan over, or releases a claim of ours that has no worker. What did not work is tried again after a
// pause, if nothing has changed by then that makes it unnecessary.
func (o *orphans) mend(ctx context.Context, id vm.TaskID) {
	if o.c.workers.get(id) != nil {
		if o.orphaned(id) { // its old worker is about to leave
			o.look(id, rankDelay)
		}
		return
	}
	o.mu.Lock()
	busy := o.inFlight[id] > 0
	if !busy {
		o.inFlight[id]++
	}
	o.mu.Unlock()
	if busy {
		return
	}
	defer o.landed(id)
	switch e, claimed := o.c.cache.Entry(o.c.keys.Claim(id)); {
	case claimed && o.ours(e):
		o.release(ctx, id, e)
	case claimed:
	case o.orphaned(id):
		o.takeOver(ctx, id)
	default:
		o.grant(ctx, id)
	}
}

// release gives up a claim of this session that no worker stands behind: a commit that answered too late, or a panic.
func (o *orphans) release(ctx context.Context, id vm.TaskID, e *coord.Entry) {
	task, te, ok := coord.Load[vm.Task](o.c.cache, o.c.keys.Task(id))
	if !ok {
		return
	}
	o.c.log.Warn("releasing a claim of this conductor that has no worker", "task", id)
	next := task.Clone()
	o.c.signLast(next, e.Create)
	next.UpdatedAt = time.Now().UTC()
	t := &coord.Txn{Name: "release"}
	t.If(coord.CreatedAt(e.Key, e.Create), coord.Unchanged(te.Key, te.Mod))
	t.Then(coord.Put(te.Key, next).Witness())
	t.Then(locks.Forget(o.c.keys, id, lockSet(task))...)
	if _, err := o.c.store.Commit(ctx, t); err != nil {
		o.c.log.Info("cannot release a claim, the sweep will try again", "task", id, "error", err)
	}
}

// takeOver claims an orphan with all its locks and drives it on. Only a task whose reservations all name it can be taken:
// one that a delete has closed meanwhile has none. It never queues. P3
func (o *orphans) takeOver(ctx context.Context, id vm.TaskID) {
	s := o.c.keeper.Current()
	if s == nil || s.Trusted() != nil || !o.c.hasRoom() {
		o.look(id, rankDelay)
		return
	}
	task, te, ok := coord.Load[vm.Task](o.c.cache, o.c.keys.Task(id))
	if !ok {
		return
	}
	why := whyTakeover
	if len(task.Attempts) == 0 {
		why = whyQueued
	}
	now := time.Now().UTC()
	next := task.Clone()
	o.c.signLast(next, te.Mod)
	next.Status, next.UpdatedAt = vm.TaskRunning, now
	next.AddAttempt(vm.Attempt{Conductor: o.c.cfg.Name, Since: now, Why: why})

	t := &coord.Txn{Name: "takeover"}
	t.If(o.c.generation().guard, coord.Unchanged(te.Key, te.Mod))
	in, inMod, ok := o.c.reserved(t, task)
	if !ok {
		return
	}
	set := lockSet(task)
	guard, writes := set.Claim(o.c.keys, s, id, now)
	t.If(guard).Then(coord.Put(te.Key, next).Witness()).Then(writes...)

	ctx, end := during(ctx, s)
	defer end()
	rev, err := o.c.store.Commit(ctx, t)
	if conflict, refused := errors.AsType[*coord.ConflictError](err); refused {
		o.c.log.Debug("did not take over", "task", id, "changed", conflict.Failed)
		return // somebody was faster, or the cache was late: its next change brings the task back here
	}
	if err != nil {
		o.c.log.Warn("cannot take over", "task", id, "error", err)
		return
	}
	if why == whyTakeover {
		o.c.metrics.takeovers.Inc()
		o.c.log.Info("took over orphan", "task", id, "kind", task.Kind, "attempt", len(next.Attempts), "fence", rev)
	}
	held := locks.Hold(o.c.keys, id, vm.Fence{Generation: o.c.generation().Generation, Revision: rev}, set, o.c.generation().guard)
	var inst *vm.Instance
	if in != nil {
		inst = in.Clone()
	}
	o.c.begin(s, held, next, rev, inst, inMod, why)
}

// during bounds a context by a session: what is written for it is not tried any longer than it lasts.
func during(ctx context.Context, s *liveness.Session) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.Context(), cancel)
	return ctx, func() { stop(); cancel() }
}

// signLast gives the last attempt its fence when it did not come to write it: rev is the revision of the transaction that
// wrote the claim. Without the claim it is the record's own, which nobody has written since.
func (c *Conductor) signLast(t *vm.Task, rev int64) {
	if n := len(t.Attempts); n > 0 && t.Attempts[n-1].Fence == nil {
		t.Attempts[n-1].Fence = &vm.Fence{Generation: c.generation().Generation, Revision: rev}
	}
}

// reserved adds the compares that every reservation of the task names it, as the cache has them. ok is false when one
// does not: then the task cannot be driven now.
func (c *Conductor) reserved(t *coord.Txn, task *vm.Task) (in *vm.Instance, mod int64, ok bool) {
	if task.Instance != "" {
		rec, e, found := coord.Load[vm.Instance](c.cache, c.keys.Instance(task.Instance))
		if !found || rec.Task != task.ID {
			return nil, 0, false
		}
		t.If(coord.Unchanged(e.Key, e.Mod)) // mutant:takeover-reservation
		in, mod = rec, e.Mod
	}
	for _, r := range task.Shared {
		v, e, found := coord.Load[vm.Volume](c.cache, c.keys.Record(r))
		if !found || v.Task != task.ID {
			return nil, 0, false
		}
		t.If(coord.Unchanged(e.Key, e.Mod))
	}
	return in, mod, true
}
