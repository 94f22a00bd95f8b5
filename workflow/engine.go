package workflow

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Recorder makes a log durable.
type Recorder interface {
	// Record writes log in one transaction, with whatever the last step decided; when it returns nil it is durable. It
	// retries what can be retried. ErrStale means not written, see there. After any other error, which ends Run as it is,
	// the write may have happened.
	Record(ctx context.Context, log Log) error
}

// Engine runs one task. Its zero values are useful but for Flow and Recorder.
type Engine[C any] struct {
	Flow     Flow[C]
	Recorder Recorder
	// Guard is asked before every call of a step's functions, each try anew: may this worker still act? It must be quick,
	// like a look at the trust window. Its error ends Run, and nothing is recorded (P1).
	Guard func(context.Context) error
	// Fresh says that nobody has begun the log's last intent: this worker admitted it just now, or it was queued since.
	// Otherwise a step found begun is resumed by its policy.
	Fresh bool
	// Cancelled is closed when a user wants the task cancelled.
	Cancelled <-chan struct{}
	Observer  Observer
	// Reason gives the word for an error that is kept with its message in the log, and so survives a takeover.
	Reason func(error) string
}

// Outcome is how a run ended.
type Outcome struct {
	Result Result
	// Log is the whole journal. The outcome of the last step is in it but not durable yet: that is for the transaction in
	// which the caller closes the task. When that one loses a compare, Run again from the durable log.
	// After an error Log is the last one known to be durable.
	Log    Log
	Err    error // why it did not succeed: a *StepError, ErrCancelled, or one that wraps ErrBadLog
	Undone bool  // Failed or Cancelled, and all that was begun is undone
}

// stopError carries out of the engine why it had to stop without knowing how the task ends.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

// staleTries is how often a pure step decides anew when its record keeps losing compares. The waits double from
// staleWait, so the last of them ends after about 10 ms * 2^8 = 2.5 s of contention.
const (
	staleTries = 8
	staleWait  = 10 * time.Millisecond
)

// Run drives the task from log, which is durable, until it has ended. It returns an error only when it had to stop
// without knowing: context.Cause(ctx) when ctx has ended, else the error of Guard, Record or Abandon as it is. Nothing
// is recorded after that and a successor can go on from the durable log. Run returns after everything it called has.
func (e Engine[C]) Run(ctx context.Context, c C, log Log) (Outcome, error) {
	if e.Observer == nil {
		e.Observer = silent{}
	}
	r := &run[C]{Engine: e, c: c, log: slices.Clone(log), durable: slices.Clone(log)}
	for {
		if ctx.Err() != nil {
			return Outcome{Log: r.durable}, context.Cause(ctx)
		}
		d := Next(r.Flow, r.log, r.cancelled())
		if d.Act == ActFinish {
			return r.outcome(d), nil
		}
		if err := r.advance(ctx, d); err != nil {
			if stop, ok := errors.AsType[stopError](err); ok {
				err = stop.error
			}
			return Outcome{Log: r.durable}, err
		}
	}
}

// run is the state of one Run.
type run[C any] struct {
	Engine[C]
	c       C
	log     Log
	durable Log
	stale   int   // lost compares in a row
	cause   error // of the newest failed entry, while this run saw it happen
	causeAt int
}

// advance takes one step of the loop: it writes the decided intent or, when that is durable, acts on it.
func (r *run[C]) advance(ctx context.Context, d Decision) error {
	step := &r.Flow.Steps[r.Flow.index(d.Step)]
	switch {
	case !d.Begun:
		return r.intend(ctx, d, step)
	case d.Act == ActUndo:
		return r.undo(ctx, step)
	default:
		return r.do(ctx, step)
	}
}

// intend records the outcome of the step before together with the intent of the next (I1).
func (r *run[C]) intend(ctx context.Context, d Decision, step *Step[C]) error {
	status := StepDoing
	if d.Act == ActUndo {
		status = StepUndoing
	}
	log := r.log.begin(status, step.Name, time.Now())
	if d.Act == ActUndo && step.Undo == nil { // cancelled in its Do, and nothing to take back
		r.log = log.end(StepUndone, time.Now())
		return nil
	}
	err := r.record(ctx, log)
	if !errors.Is(err, ErrStale) || !r.decided() {
		return err
	}
	if r.stale++; r.stale >= staleTries {
		return err
	}
	r.log = r.durable
	r.Fresh = true
	return r.wait(ctx, spread(staleWait, r.stale, time.Minute), nil)
}

// decided says whether the outcome that is not durable yet is that of a pure step.
func (r *run[C]) decided() bool {
	k := r.Flow.index(r.durable.last().Step)
	return k >= 0 && r.Flow.Steps[k].Pure
}

// record makes log durable; from then on its last intent is this run's own.
func (r *run[C]) record(ctx context.Context, log Log) error {
	if err := r.Recorder.Record(ctx, slices.Clone(log)); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	r.log, r.durable, r.stale, r.Fresh = log, log, 0, true
	return nil
}

func (r *run[C]) cancelled() bool {
	select {
	case <-r.Cancelled:
		return true
	default:
		return false
	}
}

func (r *run[C]) outcome(d Decision) Outcome {
	if failure, ok := errors.AsType[*StepError](d.Err); ok && r.cause != nil && failure.at == r.causeAt {
		failure.Err = r.cause
	}
	return Outcome{Result: d.Result, Log: r.log, Err: d.Err, Undone: d.Undone}
}
