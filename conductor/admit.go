package conductor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"leasehold/coord"
	"leasehold/fsm"
	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/vm"
	"leasehold/workflow"
)

// Order is what a request asks for.
type Order struct {
	Verb     vm.Verb
	Project  vm.ProjectName
	Instance vm.InstanceID // empty for create
	Mode     fsm.Mode
	Shared   []vm.Resource // free or shared resources it takes beside what belongs to the instance
	Params   any           // durable parameters of the task's kind; nil for none
	Same     any           // what two requests under one key have in common, where that is not Params
	// Make gives the parameters that depend on the instance, or on the task; it goes before Params.
	Make  func(in *vm.Instance, task vm.TaskID) (any, error)
	Saves *vm.Image  // the image that a snapshot makes: its record is written with the admission
	Uses  vm.ImageID // an image that has to be there
	Key   string     // idempotency key; empty for none
	By    string     // who asks, for the record
}

// Admitted is a request that became a task, now or when its key was first used.
type Admitted struct {
	Instance *vm.Instance
	Task     *vm.Task
	Revision int64 // of the store; reading at least this shows the admission
	InstRev  int64
	Saves    *vm.Image // the image that a snapshot makes
}

// admitTries bounds how often an admission is tried on fresher records. Each refusal hands over the current ones, so a
// second try fails only when someone else was faster again.
const admitTries = 16

// admission is one attempt to turn an order into a task.
type admission struct {
	c      *Conductor
	order  Order
	digest string
	now    time.Time
	id     vm.TaskID
}

func (c *Conductor) newAdmission(o Order) (*admission, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot make an id: %w", err)
	}
	digest, err := digestOf(o)
	if err != nil {
		return nil, err
	}
	return &admission{c: c, order: o, digest: digest, now: time.Now().UTC(), id: vm.TaskID(id.String())}, nil
}

// digestOf is what two requests under one idempotency key must have in common.
func digestOf(o Order) (string, error) {
	same := o.Same
	if same == nil {
		same = o.Params
	}
	b, err := json.Marshal(struct {
		Verb     vm.Verb
		Instance vm.InstanceID
		Mode     fsm.Mode
		Params   any
	}{o.Verb, o.Instance, o.Mode, same})
	if err != nil {
		return "", fmt.Errorf("internal error: cannot encode an order: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// newTask is the record of the task with the intent of its first step.
func (a *admission) newTask(in *vm.Instance, set locks.Set) (*vm.Task, error) {
	kind, ok := a.c.kinds[a.order.Verb]
	if !ok {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot %s: this is not built yet", a.order.Verb)
	}
	t := &vm.Task{
		Schema: vm.Schema, ID: a.id, Kind: a.order.Verb, Status: vm.TaskQueued, Project: a.order.Project, Instance: in.ID,
		Resources: set, Hosts: []vm.HostName{}, Attempts: []vm.Attempt{}, RequestKey: a.order.Key, RequestBy: a.order.By,
		Steps: stepsOf(workflow.Begin(kind.Flow, a.now), nil, ""), CreatedAt: a.now, UpdatedAt: a.now,
	}
	params := a.order.Params
	if a.order.Make != nil {
		var err error
		if params, err = a.order.Make(in, a.id); err != nil {
			return nil, err
		}
	}
	if params != nil {
		raw, err := json.Marshal(params)
		if err != nil {
			return nil, fmt.Errorf("internal error: cannot encode parameters: %w", err)
		}
		t.Params = raw
	}
	return t, nil
}

// firstState is the task_state of the first step of the order's kind, in the mode that was chosen.
func (a *admission) firstState(mode fsm.Mode) vm.TaskState {
	k := a.c.kinds[a.order.Verb]
	return k.State(mode, k.Flow.Steps[0].Name)
}

// drive adds claim and locks to the admission when this conductor has room; else the task stays queued and the next free
// conductor takes it like an orphan. The session returned is nil then.
func (a *admission) drive(t *coord.Txn, task *vm.Task, set locks.Set) (*liveness.Session, error) {
	s := a.c.keeper.Current()
	if s == nil || s.Trusted() != nil {
		return nil, vm.Refuse(vm.ReasonStoreUnavailable,
			"cannot %s: this conductor has no session with the store; try again or ask another one", a.order.Verb)
	}
	if !a.c.hasRoom() {
		return nil, nil
	}
	guard, writes := set.Claim(a.c.keys, s, task.ID, a.now)
	t.If(guard).Then(writes...)
	task.Status = vm.TaskRunning
	task.AddAttempt(vm.Attempt{Conductor: a.c.cfg.Name, Since: a.now, Why: whyAdmitted})
	return s, nil
}

// reserveKey adds the idempotency key. Its absence is compared, so a repeated request finds the first one's task. P5
func (a *admission) reserveKey(t *coord.Txn, inst vm.InstanceID) {
	if a.order.Key == "" {
		return
	}
	key := a.c.keys.Request(a.order.Project, a.order.Key)
	t.If(coord.Absent(key)).Then(coord.Put(key, vm.Request{
		Schema: vm.Schema, Task: a.id, Instance: inst, Digest: a.digest, At: a.now,
	}))
}

// commit writes the admission and starts to drive the task. A *coord.ConflictError is for the caller to explain.
func (a *admission) commit(ctx context.Context, t *coord.Txn, s *liveness.Session, task *vm.Task, set locks.Set,
	inst *vm.Instance,
) (*Admitted, error) {
	if s != nil {
		// Until commit has answered the watch may show this claim: it is not one without a worker.
		defer a.c.orphans.pending(task.ID)()
	}
	rev, err := a.c.store.Commit(ctx, t)
	if err != nil {
		return nil, err
	}
	a.c.metrics.admitted.WithLabelValues(string(task.Kind)).Inc()
	out := &Admitted{Task: task, Instance: inst, Revision: rev, InstRev: rev, Saves: a.saving(task)}
	if s != nil {
		w := out.Task.Clone()
		held := locks.Hold(a.c.keys, task.ID, vm.Fence{Generation: a.c.generation().Generation, Revision: rev}, set,
			a.c.generation().guard)
		a.c.begin(s, held, w, rev, inst.Clone(), rev, whyAdmitted)
	}
	return out, nil
}

// repeated looks whether the order's key was used before, in what a refused transaction found. The same order gets the
// same answer; another one is refused. P5
func (a *admission) repeated(ctx context.Context, kv coord.KV) (*Admitted, error) {
	var r vm.Request
	if err := kv.Decode(&r); err != nil {
		return nil, err
	}
	if r.Digest != a.digest {
		return nil, &vm.Refusal{
			Why: vm.ReasonKeyReused, Task: r.Task, Since: r.At,
			Message: fmt.Sprintf("cannot %s under the idempotency key %q: it was used for another request at %s; use a new key",
				a.order.Verb, a.order.Key, r.At.Format(time.RFC3339)),
		}
	}
	task, rev, err := a.c.findTask(ctx, r.Task)
	if err != nil {
		return nil, err
	}
	out := &Admitted{Task: task, Revision: rev}
	if r.Instance != "" {
		found, err := a.c.findInstance(ctx, r.Instance)
		if err != nil {
			return nil, err
		}
		out.Instance, out.InstRev = found.rec, found.mod
	}
	if img, _, ok := a.c.savedBy(task); ok {
		out.Saves = img
	}
	return out, nil
}

// keyUsed reads the order's key from etcd: before a refusal, because the refusal may be for what this very order did.
func (a *admission) keyUsed(ctx context.Context) (*Admitted, error) {
	if a.order.Key == "" {
		return nil, nil
	}
	kv, err := a.c.store.Get(ctx, a.c.keys.Request(a.order.Project, a.order.Key))
	if errors.Is(err, coord.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.repeated(ctx, kv)
}

// Admit turns an order for an existing instance into a task. A refusal is a *vm.Refusal that says what is in the way and
// what is legal now; it is never given from the cache alone.
func (c *Conductor) Admit(ctx context.Context, o Order) (*Admitted, error) {
	a, err := c.newAdmission(o)
	if err != nil {
		return nil, err
	}
	if _, built := c.kinds[o.Verb]; !built {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot %s: this is not built yet", o.Verb)
	}
	found, err := c.findInstance(ctx, o.Instance)
	if err != nil {
		return nil, err
	}
	confirmed := false // a refusal rests on records as new as this request
	for range admitTries {
		out, err := a.try(ctx, found)
		conflict, refused := errors.AsType[*coord.ConflictError](err)
		_, denied := errors.AsType[*vm.Refusal](err)
		switch {
		case refused:
			if kv, ok := conflict.Now(c.keys.Request(o.Project, o.Key)); ok && o.Key != "" {
				return a.repeated(ctx, kv)
			}
			if err := a.imagesRefused(conflict); err != nil {
				return nil, err
			}
			if err := a.learn(ctx, conflict, found); err != nil {
				return nil, err
			}
			continue
		case denied:
			if used, kerr := a.keyUsed(ctx); used != nil || kerr != nil {
				return used, kerr
			}
			if confirmed {
				return nil, err
			}
			// The cache may lag, about the instance and, also when that was read from etcd, about its host:
			// what it would refuse is confirmed by a read of both.
			if err := c.catchUp(ctx); err != nil {
				return nil, err
			}
			confirmed = true
			if found, err = c.readInstance(ctx, o.Instance); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, coord.ErrNotFound): // the task to preempt has just ended
			if found, err = c.readInstance(ctx, o.Instance); err != nil {
				return nil, err
			}
			continue
		}
		return out, err
	}
	return nil, &vm.Refusal{Why: vm.ReasonLocked, Message: fmt.Sprintf(
		"cannot %s instance %s: it changed %d times while the request was being admitted; try again", o.Verb, o.Instance, admitTries)}
}

// learn takes the current records from a refused transaction.
func (a *admission) learn(ctx context.Context, conflict *coord.ConflictError, found *foundInstance) error {
	key := a.c.keys.Instance(a.order.Instance)
	for _, failed := range conflict.Failed {
		kv, exists := conflict.Now(failed)
		table, rest, _ := a.c.keys.Split(failed)
		switch {
		case failed == key && !exists:
			fresh, err := a.c.readInstance(ctx, a.order.Instance)
			if err != nil {
				return err
			}
			*found = *fresh
		case failed == key:
			rec := new(vm.Instance)
			if err := kv.Decode(rec); err != nil {
				return err
			}
			*found = foundInstance{rec: rec, mod: kv.Mod, fresh: true}
		case table == coord.Locks && exists:
			r, _ := coord.SplitResource(rest)
			var l vm.Lock
			if err := kv.Decode(&l); err != nil {
				return err
			}
			// The reservation is free and a lock is there: it belongs to a task that this request has not seen yet.
			if l.Task != found.rec.Task && found.fresh {
				return locks.LockedError(string(a.order.Verb)+" instance "+string(a.order.Instance), r, l)
			}
			fresh, err := a.c.readInstance(ctx, a.order.Instance)
			if err != nil {
				return err
			}
			*found = *fresh
		default:
			a.c.relearn(ctx, kv, exists)
		}
	}
	return nil
}

// try makes one attempt on the records found.
func (a *admission) try(ctx context.Context, found *foundInstance) (*Admitted, error) {
	in := found.rec
	verdict := a.c.decide(in, a.order.Verb, a.order.Mode)
	if verdict.Kind != fsm.Allowed {
		return nil, a.c.explainTask(verdict.Refusal(string(in.ID)), in)
	}
	if a.order.Verb == vm.Delete {
		return a.tryDelete(ctx, found)
	}
	if err := a.c.able(in, a.order.Verb); err != nil {
		return nil, err
	}
	set, err := closure(in)
	if err != nil {
		return nil, err
	}
	task, err := a.newTask(in, set)
	if err != nil {
		return nil, err
	}
	task.Prior, task.Mode = in.State, string(verdict.Row.Mode)
	if in.Host != "" {
		task.Hosts = append(task.Hosts, in.Host)
	}
	next := in.Clone()
	next.Task, next.TaskState, next.UpdatedAt = task.ID, a.firstState(verdict.Row.Mode), a.now

	t := &coord.Txn{Name: string(a.order.Verb) + ".admit"}
	t.If(a.c.generation().guard, coord.Unchanged(a.c.keys.Instance(in.ID), found.mod)) // mutant:reservation-compare
	t.If(set.Unlocked(a.c.keys)...)
	a.reserveKey(t, in.ID)
	a.images(t, task)
	s, set, err := a.take(t, task, set)
	if err != nil {
		return nil, err
	}
	t.Then(coord.Put(a.c.keys.Task(task.ID), task).Witness(), coord.Put(a.c.keys.Instance(in.ID), next))
	return a.commit(ctx, t, s, task, set, next)
}

// take adds what the task takes beside its closure, and the claim; or, when something shared is busy or waited for, the
// tickets to wait in line. The fast way compares that nobody waits, so nobody is overtaken.
func (a *admission) take(t *coord.Txn, task *vm.Task, set locks.Set) (*liveness.Session, locks.Set, error) {
	task.Shared = a.order.Shared
	if len(task.Shared) == 0 {
		s, err := a.drive(t, task, set)
		return s, set, err
	}
	if busy, ok := a.c.busyShared(task.Shared); ok {
		a.wait(t, task, busy)
		return nil, set, nil
	}
	t.If(locks.Unqueued(a.c.keys, task.Shared)...)
	if !a.c.takeShared(t, task.ID, task.Shared, a.now) {
		return nil, nil, notFound(vm.KindVolume, task.Shared[0].ID)
	}
	set = lockSet(task)
	s, err := a.drive(t, task, set)
	return s, set, err
}

// closure is the lock set of an operation on an instance: itself and everything that belongs to it.
func closure(in *vm.Instance) (locks.Set, error) {
	rs := []vm.Resource{{Kind: vm.KindInstance, ID: string(in.ID)}}
	for _, v := range in.Volumes {
		rs = append(rs, vm.Resource{Kind: vm.KindVolume, ID: string(v)})
	}
	for _, p := range in.Ports {
		rs = append(rs, vm.Resource{Kind: vm.KindPort, ID: string(p)})
	}
	return locks.NewSet(rs...)
}
