package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// admit decides about a Run, by the table in the package comment. It returns work to follow (the caller must leave it
// again), or the answer that the journal has.
func (a *Agent) admit(ctx context.Context, o order) (*work, *verdict, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.current(o.claim); err != nil {
		return nil, nil, err
	}
	n, seen, err := a.book.begin(o)
	if err != nil {
		return nil, nil, err
	}
	if seen != nil {
		if w := a.running[o.key()]; w != nil {
			w.join()
			return w, nil, nil
		}
		return nil, answerOf(*seen), nil
	}
	// The work outlives the call when another one joins it, and ends by abort alone.
	ctx, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	w := newWork(o, abort, time.Now())
	older := a.abortOlder(o.claim, o.sequence)
	a.running[o.key()] = w
	a.works.Go(func() {
		defer abort(nil)
		a.perform(ctx, w, n, older)
	})
	return w, nil, nil
}

// answerOf is the answer to a step that is not under way: what the journal has, and interrupted when it has no end.
func answerOf(s stepRecord) *verdict {
	if s.Outcome != "" {
		return &s.verdict
	}
	return &verdict{
		Outcome: outcomeInterrupted, Reason: vm.ReasonInterrupted,
		Message: fmt.Sprintf("the agent ended in step %q and nobody saw how far it came", s.Step),
	}
}

// current compares host epoch and store generation. a.mu is held.
func (a *Agent) current(c claim) error {
	switch r := a.registration; {
	case a.stopping:
		return unavailable("cannot act for task %s: %v", c.task, errStopping)
	case r == nil:
		return unavailable("cannot act for task %s: host %s is not registered yet", c.task, a.host)
	case c.epoch != r.epoch:
		return vm.Refuse(vm.ReasonWrongEpoch, "cannot act for task %s: host %s has epoch %d, the command is for epoch %d",
			c.task, a.host, r.epoch, c.epoch)
	case c.fence.Generation != r.generation:
		return vm.Refuse(vm.ReasonWrongEpoch, "cannot act for task %s: host %s registered with store generation %d, the command is of %d",
			c.task, a.host, r.generation, c.fence.Generation)
	case r.pending:
		return unavailable("cannot act for task %s: host %s is registering with epoch %d", c.task, a.host, r.epoch)
	}
	return nil
}

// abortOlder cancels what must give way and returns it. a.mu is held.
func (a *Agent) abortOlder(c claim, sequence int64) []*work {
	var older []*work
	for _, w := range a.running {
		if w.olderThan(c, sequence) {
			w.abort(errFenced)
			older = append(older, w)
		}
	}
	return older
}

// perform does one step: begin on disk, older work out of the way, the driver's calls, a look, the end on disk. A step
// costs two syncs, and both are shared with whatever else is under way.
func (a *Agent) perform(ctx context.Context, w *work, begun int64, older []*work) {
	defer a.finish(w)
	if w.err = a.book.commit("begin", begun); w.err != nil {
		return
	}
	err := a.attempt(ctx, w, older)
	if w.observation == nil { // aborted: nobody acts on this answer, and somebody waits for the mutex
		w.observation = a.unseen(w.order.instance, err)
	}
	w.verdict = a.judge(ctx, w, err)
	w.err = a.book.commit("end", a.book.write(a.ending(w)))
}

// attempt makes the driver's calls under the instance's mutex. Older work that hangs is got past as a Fence does it, so a
// step that is tried again does not hang behind the first try. A delete may end the machine for that.
func (a *Agent) attempt(ctx context.Context, w *work, older []*work) error {
	hung := a.outlive(ctx, w.order.claim, older, w.order.action.deletes, func() error { return a.gate(ctx, w) })
	if hung != nil {
		return fmt.Errorf("%w: %s and does not end", context.Cause(ctx), hung)
	}
	unlock, err := a.machines.lock(ctx, w.order.instance)
	if err != nil {
		return err
	}
	defer unlock()
	for _, c := range w.order.action.calls {
		if err = a.gate(ctx, w); err != nil {
			break
		}
		w.enter(c.name)
		a.point("driver:before:" + c.name)
		err = c.do(ctx, a.driver, w.report)
		a.point("driver:after:" + c.name)
		w.exit()
		if err != nil {
			break
		}
	}
	if ctx.Err() == nil || err == nil {
		w.observation = a.mustObserve(ctx, w.order.instance)
	}
	return err
}

// gate stands right before each driver call: may it still be made? That a newer fence also cancels ctx is only to be
// quick; the numbers decide (A3).
func (a *Agent) gate(ctx context.Context, w *work) error {
	a.mu.Lock()
	err := a.current(w.order.claim)
	a.mu.Unlock()
	if err == nil {
		err = a.book.gate(w.order)
	}
	if err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errFenced) {
		return cause
	}
	return nil
}

// judge says how a step ended. The driver's nil counts also when the work was aborted meanwhile: it is done.
func (a *Agent) judge(ctx context.Context, w *work, err error) verdict {
	a.counted.steps.Add(1)
	if err == nil {
		return verdict{Outcome: outcomeDone, Image: w.order.action.exports}
	}
	v := verdict{Outcome: outcomeFailed, Reason: reasonOf(err), Message: err.Error(), Retryable: errors.Is(err, drivers.ErrRetry)}
	cause := context.Cause(ctx)
	switch {
	case v.Reason == vm.ReasonStaleFence, v.Reason == vm.ReasonWrongEpoch:
		v.Outcome = outcomeInterrupted
	case errors.Is(cause, errFenced):
		v.Outcome, v.Reason = outcomeInterrupted, vm.ReasonStaleFence
	case cause != nil:
		v.Outcome, v.Reason = outcomeInterrupted, vm.ReasonInterrupted
	}
	if cause != nil && !errors.Is(err, cause) {
		v.Message = fmt.Sprintf("%v: %v", cause, err)
	}
	if v.Reason == vm.ReasonStaleFence {
		a.counted.refused.Add(1)
	}
	a.log.Debug("step ended without success", "task", w.order.task, "step", w.order.step, "fence", w.order.fence,
		"sequence", w.order.sequence, "outcome", v.Outcome, "reason", v.Reason, "error", err)
	return v
}

// reasonOf classifies a driver's error.
func reasonOf(err error) vm.Reason {
	switch r := vm.ReasonOf(err); {
	case r != vm.ReasonInternal:
		return r
	case errors.Is(err, drivers.ErrNoMachine), errors.Is(err, drivers.ErrNoImage):
		return vm.ReasonNotFound
	case errors.Is(err, drivers.ErrBadImage):
		return vm.ReasonInvalidArgument
	case errors.Is(err, drivers.ErrNoMemory):
		return vm.ReasonStateForbids
	case errors.Is(err, drivers.ErrUnsupported), errors.Is(err, drivers.ErrNoAgent):
		return vm.ReasonUnsupported
	}
	return vm.ReasonDriver
}

// ending is the journal's entry for the end of a step; the tombstone of a delete rides along (A5).
func (a *Agent) ending(w *work) entry {
	o := w.order
	e := &endEntry{Task: o.task, Fence: o.fence, Sequence: o.sequence, Instance: o.instance, verdict: w.verdict}
	if o.action.deletes && w.verdict.Outcome == outcomeDone {
		e.Deleted = &tombstoneEntry{Instance: o.instance, Fence: o.fence, At: time.Now()}
		w.observation.Tombstone = true
	}
	return entry{End: e}
}

// finish takes w from the table and lets everybody have its result.
func (a *Agent) finish(w *work) {
	a.mu.Lock()
	delete(a.running, w.order.key())
	a.mu.Unlock()
	close(w.done)
}
