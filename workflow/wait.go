package workflow

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	defaultBackoff = time.Second
	maxBackoff     = 30 * time.Second
)

// spread is a random time within [d/2, d], d = min(base * 2^(n-1), limit).
func spread(base time.Duration, n int, limit time.Duration) time.Duration {
	d := min(base, limit)
	for ; n > 1 && d < limit; n-- {
		d += min(d, limit-d)
	}
	return d/2 + rand.N(d/2+1)
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// waitAfter waits before Undo or Probe is tried again.
func (r *run[C]) waitAfter(
	ctx context.Context, step *Step[C], op Op, try int, cause error, interrupt <-chan struct{},
) error {
	in := spread(min(orElse(step.Backoff, defaultBackoff), maxBackoff), try, maxBackoff)
	r.Observer.StepWaits(step.Name, Wait{Op: op, Tries: try, Err: cause, RetryIn: in})
	return r.wait(ctx, in, interrupt)
}

// wait sleeps. It is cut short by the end of ctx, which stops the run, and by a cancel.
func (r *run[C]) wait(ctx context.Context, d time.Duration, interrupt <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-interrupt:
		return errHeard
	case <-ctx.Done():
		return stopError{context.Cause(ctx)}
	}
}
