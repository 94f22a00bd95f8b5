package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/workflow"
	"leasehold/workflow/workflowtest"
)

// witness is an Observer that keeps what it hears.
type witness struct {
	started, ended int
	took           time.Duration
	progress       []workflow.Progress
	waits          []workflow.Wait
}

func (w *witness) StepStarted(string, workflow.Op) { w.started++ }
func (w *witness) StepEnded(_ string, _ workflow.Op, took time.Duration, _ error) {
	w.ended++
	w.took = took
}
func (w *witness) StepProgress(_ string, p workflow.Progress) { w.progress = append(w.progress, p) }
func (w *witness) StepWaits(_ string, wait workflow.Wait)     { w.waits = append(w.waits, wait) }

// run drives flow from its admission in a bubble, and says how long that took.
func run(t *testing.T, e workflow.Engine[world]) (workflow.Outcome, time.Duration) {
	t.Helper()
	started := time.Now()
	log := workflow.Begin(e.Flow, started)
	e.Recorder, e.Fresh = workflowtest.NewRecorder(log), true
	out, err := e.Run(t.Context(), world{}, log)
	require.NoError(t, err)
	return out, time.Since(started)
}

func TestSilentStepFailsAfterItsDeadline(t *testing.T) {
	for _, c := range []struct {
		silence, want time.Duration
	}{
		{0, workflow.DefaultSilence},
		{5 * time.Minute, 5 * time.Minute},
	} {
		inBubble(t, c.want.String(), func(t *testing.T) {
			flow := workflowtest.Script(t, shop(func(s steps) { s["attach"].Silence = c.silence }), "attach:do-hang")
			out, took := run(t, workflow.Engine[world]{Flow: flow})
			require.Equal(t, workflow.Failed, out.Result)
			require.ErrorIs(t, out.Err, workflow.ErrNoProgress)
			require.True(t, out.Undone)
			require.Equal(t, c.want, took)
		})
	}
}

func TestSilentStepIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flow := workflowtest.Script(t, shop(func(s steps) { s["attach"].Probe = found(workflow.Done) }), "attach:do-hang")
		out, _ := run(t, workflow.Engine[world]{Flow: flow})
		require.Equal(t, workflow.Succeeded, out.Result, "it only looked silent")
	})
}

func TestStepThatBeatsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		late := workflow.Beat(nil)
		flow := flowOf([]string{"copy"}, func(s steps) {
			s["copy"].Do = func(ctx context.Context, _ world, beat workflow.Beat) error {
				late = beat
				for i := range 100 {
					time.Sleep(59 * time.Second)
					beat(workflow.Progress{Phase: "disk", Done: int64(i), Total: 100})
				}
				return ctx.Err()
			}
		})
		out, took := run(t, workflow.Engine[world]{Flow: flow, Observer: w})
		require.Equal(t, workflow.Succeeded, out.Result)
		require.Equal(t, 5900*time.Second, took)
		require.Equal(t, took, w.took)
		late(workflow.Progress{})
		require.Len(t, w.progress, 100, "a beat after the end is nothing")
		require.False(t, w.progress[0].At.IsZero())
		require.Equal(t, 1, w.started)
		require.Equal(t, 1, w.ended)
	})
}

func TestStepThatDoesNotReturnIsWaitedForAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		flow := shop(func(s steps) {
			s["start"].Do = func(ctx context.Context, _ world, _ workflow.Beat) error {
				<-ctx.Done()
				time.Sleep(150 * time.Second)
				return ctx.Err()
			}
		})
		out, took := run(t, workflow.Engine[world]{Flow: flow, Observer: w})
		require.Equal(t, workflow.Failed, out.Result)
		require.Equal(t, 210*time.Second, took)
		require.Len(t, w.waits, 2, "at 120 s and 180 s")
		require.ErrorIs(t, w.waits[0].Err, workflow.ErrNoProgress)
		require.Zero(t, w.waits[0].RetryIn)
	})
}

func TestTriesWaitLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		flow := workflowtest.Script(t, flowOf([]string{"dial"}, func(s steps) {
			s["dial"].Tries, s["dial"].Backoff, s["dial"].MaxBackoff = 5, time.Second, 3*time.Second
		}), "dial:do-retry")
		_, _ = run(t, workflow.Engine[world]{Flow: flow, Observer: w})
		require.Len(t, w.waits, 4)
		for i, d := range []time.Duration{1, 2, 3, 3} {
			require.GreaterOrEqual(t, w.waits[i].RetryIn, d*time.Second/2)
			require.LessOrEqual(t, w.waits[i].RetryIn, d*time.Second)
			require.Equal(t, i+1, w.waits[i].Tries)
			require.ErrorIs(t, w.waits[i].Err, workflowtest.ErrScripted)
		}
	})
}

func TestUndoThatFailsKeepsTheTaskOpenUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping := errors.New("stopping")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, stopping)
		defer cancel()
		w := &witness{}
		flow := workflowtest.Script(t, shop(nil), "attach:do-error attach:undo-error")
		log := workflow.Begin(flow, time.Now())
		rec := workflowtest.NewRecorder(log)
		_, err := workflow.Engine[world]{Flow: flow, Recorder: rec, Observer: w}.Run(ctx, world{}, log)
		require.Equal(t, stopping, err, "the cause, as it is")
		require.Equal(t, "reserve=done attach=failed attach=undoing", journal(rec.Log()))
		require.Greater(t, len(w.waits), 120, "an hour has 120 waits of 30 s")
		for _, wait := range w.waits {
			require.Equal(t, workflow.OpUndo, wait.Op)
			require.LessOrEqual(t, wait.RetryIn, 30*time.Second)
		}
	})
}

func TestSilentUndoIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := 1
		flow := shop(func(s steps) {
			s["attach"].Undo = func(ctx context.Context, _ world, _ workflow.Beat) error {
				if hangs--; hangs >= 0 {
					<-ctx.Done()
				}
				return ctx.Err()
			}
		})
		out, took := run(t, workflow.Engine[world]{Flow: workflowtest.Script(t, flow, "attach:do-error")})
		require.True(t, out.Undone)
		require.Greater(t, took, workflow.DefaultSilence)
	})
}

func TestCancel(t *testing.T) {
	hang := func(ctx context.Context, _ world, _ workflow.Beat) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	work := func(ctx context.Context, _ world, _ workflow.Beat) error {
		time.Sleep(10 * time.Second)
		return ctx.Err()
	}
	for _, c := range []struct {
		name    string
		change  func(s steps)
		setup   string
		calls   string
		log     string
		result  workflow.Result
		seconds time.Duration
	}{
		{
			"cuts a do short", func(s steps) { s["attach"].Do = hang }, "",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo",
			"reserve=done attach=undone reserve=undone", workflow.Cancelled, 3,
		},
		{
			"of a step without undo", func(s steps) { s["attach"].Do, s["attach"].Undo = hang, nil }, "",
			"reserve:do attach:do attach:do-error reserve:undo",
			"reserve=done attach=undone reserve=undone", workflow.Cancelled, 3,
		},
		{
			"comes too late for a do that is done", func(s steps) {
				s["start"].Do = func(ctx context.Context, _ world, _ workflow.Beat) error {
					<-ctx.Done()
					return nil
				}
			}, "",
			"reserve:do attach:do start:do",
			"reserve=done attach=done start=done", workflow.Succeeded, 3,
		},
		{
			"between tries", func(s steps) { s["attach"].Tries, s["attach"].Backoff = 9, 20*time.Second }, "attach:do-retry",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo",
			"reserve=done attach=undone reserve=undone", workflow.Cancelled, 3,
		},
		{
			"is too late in the step without return", func(s steps) { s["attach"].Do, s["attach"].NoReturn = work, true }, "",
			"reserve:do attach:do start:do",
			"reserve=done attach=done start=done", workflow.Succeeded, 10,
		},
		{
			"does not hide that this step failed", func(s steps) {
				s["attach"].Do, s["attach"].NoReturn = work, true
			}, "attach:do-late",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo",
			"reserve=done attach=failed attach=undone reserve=undone", workflow.Failed, 10,
		},
		{
			"is too late after it", func(s steps) { s["start"].Do, s["attach"].NoReturn = work, true }, "",
			"reserve:do attach:do start:do",
			"reserve=done attach=done start=done", workflow.Succeeded, 10,
		},
		{
			"does not disturb an undo", func(s steps) { s["attach"].Undo = work }, "attach:do-error",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo",
			"reserve=done attach=failed attach=undone reserve=undone", workflow.Failed, 10,
		},
		{
			"ends the rounds", func(s steps) {
				s["start"].Undo, s["start"].Else, s["start"].Rounds = work, "attach", 3
			}, "start:do-error",
			"reserve:do attach:do start:do start:do-error start:undo attach:undo reserve:undo",
			"reserve=done attach=done start=failed start=undone attach=undone reserve=undone", workflow.Cancelled, 10,
		},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var trace workflowtest.Trace
			flow := workflowtest.Traced(workflowtest.Script(t, shop(c.change), c.setup), &trace)
			out, took := run(t, workflow.Engine[world]{Flow: flow, Cancelled: ctx.Done()})
			require.Equal(t, c.calls, trace.String())
			require.Equal(t, c.log, journal(out.Log))
			require.Equal(t, c.result, out.Result)
			require.Equal(t, c.seconds*time.Second, took)
			if c.result == workflow.Cancelled {
				require.Equal(t, workflow.ErrCancelled, out.Err)
				require.True(t, out.Undone)
			}
		})
	}
}

func TestCancelledBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan struct{})
		close(cancelled)
		var trace workflowtest.Trace
		out, _ := run(t, workflow.Engine[world]{Flow: workflowtest.Traced(shop(nil), &trace), Cancelled: cancelled})
		require.Equal(t, workflow.Cancelled, out.Result)
		require.Equal(t, "reserve:undo", trace.String(), "its intent was durable")
	})
}

func TestStepContextSaysWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		hang := func(ctx context.Context, _ world, _ workflow.Beat) error {
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return ctx.Err()
		}
		flow := flowOf([]string{"wait"}, func(s steps) { s["wait"].Do = hang })
		run(t, workflow.Engine[world]{Flow: flow})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		run(t, workflow.Engine[world]{Flow: flow, Cancelled: ctx.Done()})
		require.Equal(t, []error{workflow.ErrNoProgress, workflow.ErrCancelled}, causes)
	})
}
