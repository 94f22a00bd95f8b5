package agent

import (
	"context"
	"time"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
)

// fence refuses everything below c from now on, ends older work, and then tells the truth.
func (a *Agent) fence(ctx context.Context, c claim, kill bool) (*computev1.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, a.fenceLimit)
	defer cancel()
	unlock, err := a.take(ctx, c, kill, a.current)
	if err != nil {
		return nil, err
	}
	defer unlock()
	obs, err := a.observe(ctx, c.instance)
	if err != nil {
		return nil, unavailable("cannot say what is left of instance %s: %v", c.instance, err)
	}
	obs.Journal = journalOf(a.book.steps(c.instance))
	return obs, nil
}

// take raises the fences of c, ends what is older and returns with the instance's mutex held. The number goes first: what
// begins meanwhile is refused, so when the older work is gone and the mutex is held nothing older can act (A4, P1).
func (a *Agent) take(ctx context.Context, c claim, kill bool, legal func(claim) error) (unlock func(), err error) {
	n, older, err := a.raise(c, legal)
	if err != nil {
		return nil, err
	}
	if err := a.book.commit("fence", n); err != nil {
		return nil, unavailable("cannot fence instance %s: %v", c.instance, err)
	}
	if w := a.outlive(ctx, c, older, kill, func() error { return a.book.compare(c) }); w != nil {
		return nil, unavailable("cannot fence instance %s: %s and does not end: %v", c.instance, w, ctx.Err())
	}
	unlock, err = a.machines.lock(ctx, c.instance)
	if err != nil {
		return nil, unavailable("cannot fence instance %s yet: a command that is not older holds it: %v", c.instance, err)
	}
	return unlock, nil
}

func (a *Agent) raise(c claim, legal func(claim) error) (int64, []*work, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := legal(c); err != nil {
		return 0, nil, err
	}
	n, err := a.book.accept(c)
	if err != nil {
		return 0, nil, err
	}
	return n, a.abortOlder(c, 0), nil
}

// outlive waits until all older work has ended, and returns nil, or work that had not when ctx ended. What does not obey
// its context soon hangs in the hypervisor and is got past by the driver, as long as c may: like any driver call it is made
// by the newest only (A3). With kill the hung machine of c's own instance is ended.
func (a *Agent) outlive(ctx context.Context, c claim, older []*work, kill bool, may func() error) *work {
	grace := time.NewTimer(a.fenceGrace)
	defer grace.Stop()
	for _, w := range older {
		if isClosed(w.done) {
			continue
		}
		select {
		case <-w.done:
		case <-grace.C:
			grace.Reset(0) // used up for the others as well
			w.breakIn(func() {
				if may() == nil {
					a.interrupt(ctx, w, kill && w.order.instance == c.instance)
				}
			})
		case <-ctx.Done():
		}
		select {
		case <-w.done:
		case <-ctx.Done():
			return w
		}
	}
	return nil
}

// interrupt gets past a hung call. Its error is not the answer: whether the work ends is.
func (a *Agent) interrupt(ctx context.Context, w *work, kill bool) {
	p, ok := a.driver.(drivers.Interrupter)
	if !ok {
		return
	}
	log := a.log.With("instance", w.order.instance, "task", w.order.task, "step", w.order.step, "kill", kill)
	log.Warn("interrupting a hypervisor call that does not end", "fence", w.order.fence)
	a.point("driver:before:interrupt")
	err := p.Interrupt(ctx, w.order.instance, kill)
	a.point("driver:after:interrupt")
	if err != nil {
		log.Warn("cannot interrupt", "error", err)
	}
}
