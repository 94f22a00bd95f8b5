package conductor

import (
	"fmt"
	"time"

	"leasehold/vm"
	"leasehold/workflow"
)

// observer hears of a flow: for metrics, and so that a task which waits says why. P8
type observer struct {
	workflow.Observer
	w *worker
}

// StepWaits makes durable why an undo or a probe waits, as Record has it for a Do. It may come from another goroutine when
// nothing is waited for but a function that does not return; then only this conductor can tell.
func (o observer) StepWaits(step string, w workflow.Wait) {
	o.Observer.StepWaits(step, w)
	now := o.w.Now()
	wait := &vm.Wait{
		Reason: vm.ReasonOf(w.Err), Since: now,
		Message: fmt.Sprintf("%s of step %s failed %d times and is tried again: %s", w.Op, step, w.Tries, vm.Short(w.Err.Error())),
	}
	if w.RetryIn == 0 {
		wait.Message = fmt.Sprintf("%s of step %s was told to end and has not returned: %s", w.Op, step, vm.Short(w.Err.Error()))
		o.w.hanging.Store(wait)
		return
	}
	if w.Op == workflow.OpDo { // its log was recorded with the reason
		return
	}
	wait.RetryAt = now.Add(w.RetryIn)
	o.w.work.Task.Waiting = wait
	if err := o.w.save("wait", now); err != nil {
		o.w.log.Debug("cannot save why the task waits", "error", err)
	}
}

// StepStarted and StepEnded say that what hung does so no more.
func (o observer) StepStarted(step string, op workflow.Op) {
	o.w.hanging.Store(nil)
	o.Observer.StepStarted(step, op)
}

// StepEnded is told when the function has returned.
func (o observer) StepEnded(step string, op workflow.Op, took time.Duration, err error) {
	o.w.hanging.Store(nil)
	o.Observer.StepEnded(step, op, took, err)
}

// waitOf is what a task waits for whose newest step is to be tried again; nil for any other.
func waitOf(log workflow.Log, now time.Time) *vm.Wait {
	if len(log) == 0 {
		return nil
	}
	e := log[len(log)-1]
	if e.Status != workflow.StepDoing || e.RetryAt.IsZero() {
		return nil
	}
	return &vm.Wait{
		Reason: vm.Reason(e.Reason), Since: now, RetryAt: e.RetryAt,
		Message: fmt.Sprintf("step %s failed and is tried for the %d. time: %s", e.Step, e.Try, vm.Short(e.Error)),
	}
}

// waitingOf is why a task does not move, as far as this conductor knows.
func (c *Conductor) waitingOf(t *vm.Task) *vm.Wait {
	if w := c.workers.get(t.ID); w != nil && !t.Status.Terminal() {
		if hangs := w.hanging.Load(); hangs != nil {
			return hangs
		}
	}
	return t.Waiting
}
