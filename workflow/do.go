package workflow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// do brings the step that is being done to an outcome in r.log. Its error stops the run.
func (r *run[C]) do(ctx context.Context, step *Step[C]) error {
	interrupt := r.Cancelled
	if TooLate(r.Flow, r.log) {
		interrupt = nil
	}
	settled, err := false, error(nil)
	if !r.Fresh {
		settled, err = r.resume(ctx, step, interrupt)
	}
	r.Fresh = true
	for err == nil && !settled {
		err = r.call(ctx, step, OpDo, interrupt, func(ctx context.Context, beat Beat) error {
			return step.Do(ctx, r.c, beat)
		})
		switch classOf(err) {
		case retryable:
			err = r.again(ctx, step, err, interrupt)
		case unknown:
			settled, err = r.clear(ctx, step, err, interrupt)
		default:
			settled = err == nil
		}
	}
	return r.settle(err)
}

// settle writes a Do's outcome into the log that the next record carries.
func (r *run[C]) settle(err error) error {
	if _, ok := errors.AsType[stopError](err); ok {
		return err
	}
	switch {
	case err == nil:
		r.log = r.log.end(StepDone, time.Now())
	case errors.Is(err, errHeard): // Next sees the cancel, and the intent still open
	default:
		try := r.log.last().Try
		r.log = r.log.end(StepFailed, time.Now()).blame(err.Error(), r.reason(err), try)
		r.cause, r.causeAt = err, len(r.log)-1
	}
	return nil
}

// resume applies the policy of a step that was found begun.
func (r *run[C]) resume(ctx context.Context, step *Step[C], interrupt <-chan struct{}) (done bool, err error) {
	switch step.Resume {
	case Probe:
		v, err := r.probe(ctx, step, interrupt)
		if err == nil && v == Broken {
			err = fmt.Errorf("%w, and found failed", ErrInterrupted)
		}
		return v == Done, err
	case Undo, Fail:
		return false, ErrInterrupted
	default:
		return false, nil
	}
}

// clear finds out what an unknown outcome was. Without an error and not done, the step is to be done again.
func (r *run[C]) clear(
	ctx context.Context, step *Step[C], cause error, interrupt <-chan struct{},
) (done bool, err error) {
	if step.Probe != nil {
		switch v, err := r.probe(ctx, step, interrupt); {
		case err != nil:
			return false, err
		case v == Done:
			return true, nil
		case v == Broken:
			return false, cause
		}
	}
	return false, r.again(ctx, step, cause, interrupt)
}

// again prepares another try: it is nil when there is to be one. That it comes, and why, is durable before the wait, so
// the number of tries outlives a takeover and a reader sees what is waited for (P8).
func (r *run[C]) again(ctx context.Context, step *Step[C], cause error, interrupt <-chan struct{}) error {
	try := max(1, r.log.last().Try)
	if try >= max(1, step.Tries) {
		return cause
	}
	in := spread(orElse(step.Backoff, defaultBackoff), try, orElse(step.MaxBackoff, maxBackoff))
	next := r.log.blame(cause.Error(), r.reason(cause), try+1).retry(time.Now().Add(in))
	err := r.record(ctx, next)
	if err != nil && (!step.Pure || !errors.Is(err, ErrStale)) {
		return stopError{err}
	}
	if err != nil { // a pure step's outcome will be recorded against what is true then; the count is kept until it is
		r.log = next
	}
	r.Observer.StepWaits(step.Name, Wait{Op: OpDo, Tries: try, Err: cause, RetryIn: in})
	return r.wait(ctx, in, interrupt)
}

// probe asks until there is an answer (P4: what waits says so).
func (r *run[C]) probe(ctx context.Context, step *Step[C], interrupt <-chan struct{}) (Verdict, error) {
	for try := 1; ; try++ {
		var verdict Verdict
		err := r.call(ctx, step, OpProbe, interrupt, func(ctx context.Context, _ Beat) (err error) {
			verdict, err = step.Probe(ctx, r.c)
			if err == nil && (verdict < Done || verdict > Broken) {
				err = fmt.Errorf("internal error: probe of step %q gave verdict %d", step.Name, verdict)
			}
			return err
		})
		if err == nil || isFinal(err) || classOf(err) == permanent {
			return verdict, err
		}
		if err := r.waitAfter(ctx, step, OpProbe, try, err, interrupt); err != nil {
			return 0, err
		}
	}
}

// undo takes the step back, however often it must be tried. Its error stops the run.
func (r *run[C]) undo(ctx context.Context, step *Step[C]) error {
	for try := 1; ; try++ {
		err := r.call(ctx, step, OpUndo, nil, func(ctx context.Context, beat Beat) error {
			return step.Undo(ctx, r.c, beat)
		})
		if err == nil {
			r.log = r.log.end(StepUndone, time.Now())
			return nil
		}
		if isFinal(err) {
			return err
		}
		if err := r.waitAfter(ctx, step, OpUndo, try, err, nil); err != nil {
			return err
		}
	}
}

func (r *run[C]) reason(err error) string {
	if r.Reason == nil {
		return ""
	}
	return r.Reason(err)
}
