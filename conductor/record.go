package conductor

import (
	"context"
	"errors"
	"slices"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/coord"
	"leasehold/fsm"
	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

// Record writes the log with everything that the last step decided. workflow.ErrStale means that a decision lost its
// compare and that the records are as they were before it.
func (w *worker) Record(_ context.Context, log workflow.Log) error {
	now := w.Now()
	w.work.Task.Steps = stepsOf(log, w.work.Task.Steps, w.host())
	w.work.Task.Waiting, w.work.Task.Progress = waitOf(log, now), nil
	if w.work.Instance != nil && len(log) > 0 {
		w.work.Instance.TaskState = w.kind.State(fsm.Mode(w.work.Task.Mode), log[len(log)-1].Step)
	}
	return w.save("step", now)
}

// save puts both records. It is what every transaction of a task but its first and last does.
func (w *worker) save(name string, now time.Time) error {
	err := w.commit(name, func(t *coord.Txn) {
		task := w.work.Task
		task.UpdatedAt = now
		w.sign()
		t.Then(coord.Put(w.c.keys.Task(task.ID), task).Witness())
		if in := w.work.Instance; in != nil {
			in.UpdatedAt = now
			t.If(coord.Unchanged(w.c.keys.Instance(in.ID), w.instMod)) // mutant:record-compare
			t.Then(coord.Put(w.c.keys.Instance(in.ID), in))
		}
	})
	if err != nil {
		return err
	}
	w.keep()
	return nil
}

// sign writes this attempt's fence into the task: a fence is the revision of its own transaction, so only the next knows it.
func (w *worker) sign() {
	if n := len(w.work.Task.Attempts); n > 0 {
		f := w.held.Fence
		w.work.Task.Attempts[n-1].Fence = &f
	}
}

// commit is the only way to write for a task (A2). It compares the claim, the generation, the task's own record and the
// allocations it changes; write adds the rest. What other people may change meanwhile (a name, metadata, a host's
// allocations) is taken over and the write made again. P1
func (w *worker) commit(name string, write func(*coord.Txn)) error {
	promise := w.work.Promise
	if promise != "" || len(w.work.Free) > 0 {
		unlock := w.c.allocations.lock(append(slices.Clone(w.work.Free), promise)...)
		defer unlock()
	}
	for {
		if err := w.trusted(); err != nil {
			return err
		}
		t := &coord.Txn{Name: string(w.kind.Verb) + "." + name}
		t.If(w.held.Guards()...) // mutant:claim-compare
		t.If(coord.Unchanged(w.c.keys.Task(w.work.Task.ID), w.taskMod))
		changed, err := w.allocate(t)
		if err != nil {
			w.restore()
			return err
		}
		if in := w.work.Instance; w.work.Unname {
			t.Then(coord.Delete(w.c.keys.Name(vm.KindInstance, in.Project, in.Name)))
		}
		write(t)
		rev, err := w.c.store.Commit(w.ctx, t)
		if conflict, ok := errors.AsType[*coord.ConflictError](err); ok {
			if err := w.reconcile(conflict, promise); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if w.ctx.Err() != nil {
				return context.Cause(w.ctx)
			}
			return err
		}
		w.taskMod, w.instMod = rev, rev
		w.c.allocations.wrote(changed, rev)
		w.work.Promise, w.work.Free, w.work.Unname = "", nil, false
		return nil
	}
}

// allocate adds the changes of allocations that the step decided.
func (w *worker) allocate(t *coord.Txn) (changed []vm.Allocations, err error) {
	in := w.work.Instance
	for _, host := range w.work.Free {
		changed = append(changed, w.c.release(t, host, in.ID)...)
	}
	if host := w.work.Promise; host != "" {
		a, mod := w.c.allocations.of(host)
		a, err := scheduler.Reserve(a, in.ID, in.Size, w.c.capacityOf(host))
		if err != nil {
			return nil, workflow.ErrStale
		}
		a.Schema, a.ID, a.Name = vm.Schema, host, host
		changed = append(changed, a)
		t.If(coord.Unchanged(w.c.keys.Allocations(host), mod)).Then(coord.Put(w.c.keys.Allocations(host), a))
	}
	return changed, nil
}

// release adds to a transaction that a host's room is given back; nothing when it is not promised.
func (c *Conductor) release(t *coord.Txn, host vm.HostName, id vm.InstanceID) []vm.Allocations {
	a, mod := c.allocations.of(host)
	if _, held := a.Instances[id]; !held {
		return nil
	}
	a = scheduler.Release(a, id)
	t.If(coord.Unchanged(c.keys.Allocations(host), mod)).Then(coord.Put(c.keys.Allocations(host), a))
	return []vm.Allocations{a}
}

// reconcile looks at what refused a write. Nil means: write again.
func (w *worker) reconcile(conflict *coord.ConflictError, promise vm.HostName) error {
	if w.held.Lost(conflict) || slices.Contains(conflict.Failed, w.c.keys.Task(w.work.Task.ID)) {
		return errLost
	}
	for _, key := range conflict.Failed {
		kv, found := conflict.Now(key)
		switch t, _, _ := w.c.keys.Split(key); t {
		case coord.Allocations:
			w.c.allocations.learn(key, kv, found)
			if promise != "" && key == w.c.keys.Allocations(promise) {
				w.restore()
				return workflow.ErrStale
			}
		case coord.Instances:
			if err := w.adopt(kv, found); err != nil {
				return err
			}
		default:
			w.c.relearn(w.ctx, kv, found)
		}
	}
	return nil
}

// adopt takes over what a user edited in the instance's record while the task ran: name, metadata, protection, on_host_boot.
func (w *worker) adopt(kv coord.KV, found bool) error {
	var now vm.Instance
	if !found || kv.Decode(&now) != nil || now.Task != w.work.Task.ID {
		return errLost
	}
	for _, in := range []*vm.Instance{w.work.Instance, w.kept.inst} {
		in.Name, in.Metadata, in.DeleteProtection, in.OnHostBoot = now.Name, now.Metadata, now.DeleteProtection, now.OnHostBoot
	}
	w.instMod = kv.Mod
	return nil
}

// finish ends the task in one transaction: new state, history, and everything released that was taken for it. A5, P6
func (w *worker) finish(out workflow.Outcome) error {
	task, in, now := w.work.Task, w.work.Instance, w.Now()
	w.kind.Settle(w.work, out)
	task.Status = statusOf(out.Result)
	task.Steps = stepsOf(out.Log, task.Steps, w.host())
	task.Waiting, task.Progress, task.EndedAt, task.UpdatedAt = nil, nil, &now, now
	task.Error = tasks.FaultOf(task, out.Err, now)
	// What is to be given back must be known as this claim, or one before it, took it: a cache from before would show it free.
	if len(task.Shared) > 0 || w.work.Saves != nil {
		if err := w.c.cache.WaitRevision(w.ctx, w.held.Fence.Revision); err != nil {
			return err
		}
	}
	if in != nil {
		in.Task, in.TaskState, in.UpdatedAt = "", vm.Idle, now
	}
	err := w.commit("finish", func(t *coord.Txn) {
		w.sign()
		if in != nil {
			t.If(coord.Unchanged(w.c.keys.Instance(in.ID), w.instMod)) // mutant:record-compare
			t.Then(w.c.putInstance(in, w.work.Gone)...)
			if seen := w.work.Observed; seen != nil && !w.work.Gone {
				t.Then(coord.Put(w.c.keys.Observed(in.ID), observed(in.ID, in.Host, seen, now)))
			}
		}
		w.c.closeTask(t, task)
		t.Then(w.held.Release()...)
		w.unreserve(t)
		w.saved(t)
	})
	if err == nil {
		w.c.recent.put(task, w.taskMod)
		w.log.Info("task ended", "status", task.Status, "attempts", len(task.Attempts))
		w.c.metrics.taskEnded(task)
	}
	return err
}

// unreserve gives back the shared resources that the task held beside its instance.
func (w *worker) unreserve(t *coord.Txn) {
	for _, r := range w.work.Task.Shared {
		if v, e, ok := coord.Load[vm.Volume](w.c.cache, w.c.keys.Record(r)); ok && v.Task == w.work.Task.ID {
			free := *v
			free.Task, free.UpdatedAt = "", w.work.Task.UpdatedAt
			t.If(coord.Unchanged(e.Key, e.Mod))
			t.Then(coord.Put(e.Key, free))
		}
	}
}

// handBack gives up the claim and leaves the task queued for another conductor.
func (w *worker) handBack(why string) {
	w.restore()
	now := w.Now()
	task := w.work.Task
	task.Status, task.UpdatedAt = vm.TaskQueued, now
	if n := len(task.Attempts); n > 0 {
		task.Attempts[n-1].Why += "; handed back: " + vm.Short(why)
	}
	err := w.commit("handback", func(t *coord.Txn) {
		w.sign()
		t.Then(coord.Put(w.c.keys.Task(task.ID), task).Witness())
		t.Then(w.held.Release()...)
	})
	if err != nil {
		w.log.Info("cannot hand the task back, its claim will expire", "error", err)
	}
}

// closeTask moves a task from the open ones into the history, with an index entry for each resource.
func (c *Conductor) closeTask(t *coord.Txn, task *vm.Task) {
	t.Then(
		coord.Delete(c.keys.Task(task.ID)),
		coord.Delete(c.keys.Cancel(task.ID)),
		coord.Put(c.keys.History(task.ID), task).Witness(),
	)
	rs := task.Resources
	if task.Instance != "" {
		rs = rs[:0:0]
		rs = append(rs, vm.Resource{Kind: vm.KindInstance, ID: string(task.Instance)})
	}
	for _, r := range rs {
		t.Then(coord.Put(c.keys.Index(r, task.ID), indexEntry{vm.Schema, task.ID, task.Kind, task.Status, *task.EndedAt}))
	}
}

// indexEntry is the value under the log's index: enough for a list.
type indexEntry struct {
	Schema  int           `json:"schema"`
	ID      vm.TaskID     `json:"id"`
	Kind    vm.Verb       `json:"kind"`
	Status  vm.TaskStatus `json:"status"`
	EndedAt time.Time     `json:"ended_at"`
}

// putInstance writes the record, or removes it with all that hangs on it and keeps its last form in the log.
func (c *Conductor) putInstance(in *vm.Instance, gone bool) []coord.Write {
	if !gone {
		return []coord.Write{coord.Put(c.keys.Instance(in.ID), in)}
	}
	writes := []coord.Write{
		coord.Delete(c.keys.Instance(in.ID)),
		coord.Delete(c.keys.Observed(in.ID)),
		coord.Put(c.keys.Gone(in.ID), in),
	}
	if in.HiddenAt == nil { // else its name was given back, and may be somebody else's
		writes = append(writes, coord.Delete(c.keys.Name(vm.KindInstance, in.Project, in.Name)))
	}
	return writes
}

func observed(id vm.InstanceID, host vm.HostName, o *computev1.Observation, now time.Time) vm.Observed {
	return vm.Observed{
		Schema: vm.Schema, ID: id, Host: host, PowerState: vm.PowerState(o.GetPowerState()), Detail: o.GetDetail(),
		Epoch: o.GetHostEpoch(), Sequence: o.GetSequence(), SeenAt: now,
		Fence: vm.Fence{Generation: o.GetFence().GetGeneration(), Revision: o.GetFence().GetRevision()},
	}
}

func statusOf(r workflow.Result) vm.TaskStatus {
	switch r {
	case workflow.Succeeded:
		return vm.TaskSucceeded
	case workflow.Cancelled:
		return vm.TaskCancelled
	case workflow.Failed:
	}
	return vm.TaskFailed
}

// host is where the instance is, or is to be; empty without one.
func (w *worker) host() vm.HostName {
	if w.work.Instance == nil {
		return ""
	}
	return w.work.Instance.Host
}

// stepsOf and logOf turn the engine's log into the record's steps and back. A step that was written before keeps its host:
// the next one may run elsewhere.
func stepsOf(log workflow.Log, before []vm.Step, host vm.HostName) []vm.Step {
	steps := make([]vm.Step, 0, len(log))
	for i, e := range log {
		s := vm.Step{
			Name: e.Step, Status: vm.StepStatus(e.Status), Error: vm.Short(e.Error), Reason: vm.Reason(e.Reason), Try: e.Try,
			StartedAt: e.StartedAt, RetryAt: e.RetryAt, Host: host,
		}
		if i < len(before) && before[i].Name == e.Step && before[i].Host != "" {
			s.Host = before[i].Host
		}
		if !e.EndedAt.IsZero() {
			ended := e.EndedAt
			s.EndedAt = &ended
		}
		steps = append(steps, s)
	}
	return steps
}

func logOf(steps []vm.Step) workflow.Log {
	log := make(workflow.Log, 0, len(steps))
	for _, s := range steps {
		e := workflow.Entry{
			Step: s.Name, Status: workflow.Status(s.Status), Error: s.Error, Reason: string(s.Reason), Try: s.Try,
			StartedAt: s.StartedAt, RetryAt: s.RetryAt,
		}
		if s.EndedAt != nil {
			e.EndedAt = *s.EndedAt
		}
		log = append(log, e)
	}
	return log
}
