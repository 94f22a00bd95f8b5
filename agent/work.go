package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	computev1 "leasehold/api/compute/v1"
	"leasehold/vm"
)

// Why work was aborted. Only errFenced says that somebody newer acts here now.
var (
	errFenced    = errors.New("a newer command took over")
	errAbandoned = errors.New("cancelled by caller")
	errStopping  = errors.New("the agent is stopping")
)

// stepKey names a step: its place in the order.
type stepKey struct {
	task     vm.TaskID
	fence    vm.Fence
	sequence int64
}

func (o order) key() stepKey { return stepKey{o.task, o.fence, o.sequence} }

// work is a step under way, and whoever waits for it. It belongs to the agent, not to the call that began it: a second
// call of the same step joins it, and it is cancelled when the last caller has left.
type work struct {
	order order
	since time.Time
	abort context.CancelCauseFunc
	done  chan struct{} // closed when verdict, observation and err are final

	verdict     verdict
	observation *computev1.Observation
	err         error // the journal failed: there is no answer

	mu       sync.Mutex
	callers  int
	call     string         // the driver call under way
	breakers sync.WaitGroup // interrupts of that call
	progress vm.Progress
	reports  int           // grows with each report
	moved    chan struct{} // closed by the next report
}

func newWork(o order, abort context.CancelCauseFunc, now time.Time) *work {
	return &work{
		order: o, since: now, abort: abort, callers: 1,
		done: make(chan struct{}), moved: make(chan struct{}),
	}
}

func (w *work) join() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.callers++
}

// leave cancels the work when nobody waits for it any more. A step that ended is not changed by it.
func (w *work) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callers--; w.callers == 0 {
		w.abort(errAbandoned)
	}
}

// report takes what the driver says. It never waits for a caller.
func (w *work) report(p vm.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress = p
	w.reports++
	close(w.moved)
	w.moved = make(chan struct{})
}

// latest returns the last report, how many there were, and what is closed by the next one.
func (w *work) latest() (vm.Progress, int, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.progress, w.reports, w.moved
}

func (w *work) enter(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call = call
}

// exit ends a driver call. It waits for who interrupts it, so that an interrupt, which cannot take the instance's mutex,
// never hits the call of whoever takes the mutex next.
func (w *work) exit() {
	w.enter("")
	w.breakers.Wait()
}

// breakIn calls interrupt while w stays in its driver call; not at all when w is in none.
func (w *work) breakIn(interrupt func()) {
	w.mu.Lock()
	if w.call == "" {
		w.mu.Unlock()
		return
	}
	w.breakers.Add(1)
	w.mu.Unlock()
	defer w.breakers.Done()
	interrupt()
}

// String says what the work is and where it stands, for the message of who waits for it in vain.
func (w *work) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	where := "waiting for its turn"
	if w.call != "" {
		where = "in the driver call " + w.call
	}
	o := w.order
	return fmt.Sprintf("step %q of task %s under fence %s is %s since %s", o.step, o.task, o.fence, where, w.since.UTC().Format(time.RFC3339))
}

// olderThan says whether w must give way to a command with this claim and sequence; 0 is the sequence of a Fence.
func (w *work) olderThan(c claim, sequence int64) bool {
	switch d := w.order.fence.Compare(c.fence); {
	case d > 0:
		return false
	case d == 0:
		return w.order.task == c.task && w.order.sequence < sequence
	}
	return w.order.overlaps(c)
}

// overlaps says whether two claims name the same task or a resource in common.
func (c claim) overlaps(o claim) bool {
	if c.task == o.task && c.task != "" {
		return true
	}
	for _, r := range c.resources {
		if slices.Contains(o.resources, r) {
			return true
		}
	}
	return false
}
