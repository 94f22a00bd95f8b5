package workflow

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// errHeard ends a Do whose task is cancelled. It never leaves the engine.
var errHeard = errors.New("cancel heard")

// isFinal says that err is not the step's own: the run stops, or a cancel was heard.
func isFinal(err error) bool {
	_, stop := errors.AsType[stopError](err)
	return stop || errors.Is(err, errHeard)
}

// call runs one function of a step, once, and returns after it has returned (I8). Its error is stopError when the run has
// to stop (I7), errHeard when a cancel ended it, else the function's own; a silent function's is Unknown.
func (r *run[C]) call(
	ctx context.Context, step *Step[C], op Op, interrupt <-chan struct{}, f func(context.Context, Beat) error,
) error {
	select {
	case <-interrupt:
		return errHeard
	default:
	}
	if r.Guard != nil {
		if err := r.Guard(ctx); err != nil {
			return stopError{err}
		}
	}
	if ctx.Err() != nil {
		return stopError{context.Cause(ctx)}
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := r.watch(step, op, interrupt, cancel)
	r.Observer.StepStarted(step.Name, op)
	started := time.Now()
	err := func() error {
		defer w.stop()
		return shielded(inner, step.Name, op, w.beat, f)
	}()
	r.Observer.StepEnded(step.Name, op, time.Since(started), err)

	switch cause := context.Cause(inner); {
	case ctx.Err() != nil:
		return stopError{context.Cause(ctx)}
	case err == nil:
		return nil
	case classOf(err) == abandoned:
		return stopError{err}
	case errors.Is(cause, ErrCancelled):
		return errHeard
	case errors.Is(cause, ErrNoProgress):
		return Unknown(fmt.Errorf("%w for %v: %w", ErrNoProgress, w.silence, err))
	}
	return err
}

// shielded turns a panic of f into an error.
func shielded(
	ctx context.Context, step string, op Op, beat Beat, f func(context.Context, Beat) error,
) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Step: step, Op: op, Value: v, Stack: debug.Stack()}
		}
	}()
	return f(ctx, beat)
}

// watch looks after one call: it ends the call's context when nothing was heard of it for the step's silence (P7), or
// when interrupt closes. A function that does not return even then is waited for, and reported each silence anew.
type watch struct {
	silence time.Duration
	beats   func(Progress)

	mu    sync.Mutex
	timer *time.Timer // nil once stopped
	quit  chan struct{}
	gone  chan struct{}
}

func (r *run[C]) watch(step *Step[C], op Op, interrupt <-chan struct{}, cancel context.CancelCauseFunc) *watch {
	silence := orElse(step.Silence, DefaultSilence)
	w := &watch{
		silence: silence,
		beats:   func(p Progress) { r.Observer.StepProgress(step.Name, p) },
		timer:   time.NewTimer(silence),
		quit:    make(chan struct{}),
		gone:    make(chan struct{}),
	}
	alarm := w.timer
	go func() {
		defer close(w.gone)
		for ended := false; ; {
			select {
			case <-w.quit:
				return
			case <-interrupt:
				cancel(ErrCancelled)
				interrupt, ended = nil, true
			case <-alarm.C:
				if ended {
					err := fmt.Errorf("%w: it does not return although its context has ended", ErrNoProgress)
					r.Observer.StepWaits(step.Name, Wait{Op: op, Err: err})
				}
				cancel(ErrNoProgress)
				ended = true
				w.renew()
			}
		}
	}()
	return w
}

// beat is what the function gets.
func (w *watch) beat(p Progress) {
	if !w.renew() {
		return
	}
	if p.At.IsZero() {
		p.At = time.Now()
	}
	w.beats(p)
}

// renew starts the silence anew, and is false when the call is over.
func (w *watch) renew() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return false
	}
	w.timer.Reset(w.silence)
	return true
}

// stop ends the watch; no beat is reported that begins after it.
func (w *watch) stop() {
	w.mu.Lock()
	w.timer.Stop()
	w.timer = nil
	w.mu.Unlock()
	close(w.quit)
	<-w.gone
}
