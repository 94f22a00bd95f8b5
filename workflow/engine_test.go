package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/workflow"
	"leasehold/workflow/workflowtest"
)

type steps = map[string]*workflow.Step[world]

// shop is the flow of the stories: reserve, attach, start.
func shop(change func(s steps)) workflow.Flow[world] {
	return flowOf([]string{"reserve", "attach", "start"}, change)
}

// inBubble runs f with a fake clock.
func inBubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// journal is a log in one line: "reserve=done attach=failed".
func journal(log workflow.Log) string {
	var words []string
	for _, e := range log {
		words = append(words, fmt.Sprintf("%s=%s", e.Step, e.Status))
	}
	return strings.Join(words, " ")
}

func TestRunCallsInOrder(t *testing.T) {
	twoTries := func(s steps) { s["attach"].Tries = 2 }
	probed := func(v workflow.Verdict) func(steps) {
		return func(s steps) { s["attach"].Probe, s["attach"].Tries = found(v), 2 }
	}
	for _, c := range []struct {
		name, setup, calls string
		change             func(s steps)
		result             workflow.Result
		records            int
	}{
		{"all", "", "reserve:do attach:do start:do", nil, workflow.Succeeded, 2},
		{
			"first fails", "reserve:do-error",
			"reserve:do reserve:do-error reserve:undo", nil, workflow.Failed, 1,
		},
		{
			"second fails", "attach:do-error",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo", nil, workflow.Failed, 3,
		},
		{
			"second fails and leaves nothing", "attach:do-error",
			"reserve:do attach:do attach:do-error reserve:undo",
			func(s steps) { s["attach"].Undo = nil }, workflow.Failed, 2,
		},
		{
			"nothing to undo", "reserve:do-error", "reserve:do reserve:do-error",
			func(s steps) { s["reserve"].Undo = nil }, workflow.Failed, 0,
		},
		{
			"panic fails the task", "attach:do-panic",
			"reserve:do attach:do attach:undo reserve:undo", nil, workflow.Failed, 3,
		},
		{
			"plain errors are not tried again", "attach:do-error#1",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo", twoTries, workflow.Failed, 3,
		},
		{
			"retryable errors are", "attach:do-retry#1",
			"reserve:do attach:do attach:do-error attach:do start:do", twoTries, workflow.Succeeded, 3,
		},
		{
			"as often as allowed", "attach:do-retry",
			"reserve:do attach:do attach:do-error attach:do attach:do-error attach:undo reserve:undo",
			twoTries, workflow.Failed, 4,
		},
		{
			"unknown is redone", "attach:do-lost#1",
			"reserve:do attach:do attach:do-error attach:do start:do", twoTries, workflow.Succeeded, 3,
		},
		{
			"unknown is probed: done", "attach:do-lost#1",
			"reserve:do attach:do attach:do-error attach:probe start:do", probed(workflow.Done), workflow.Succeeded, 2,
		},
		{
			"unknown is probed: not done", "attach:do-gone#1",
			"reserve:do attach:do attach:do-error attach:probe attach:do start:do",
			probed(workflow.NotDone), workflow.Succeeded, 3,
		},
		{
			"unknown is probed: broken", "attach:do-gone#1",
			"reserve:do attach:do attach:do-error attach:probe attach:undo reserve:undo",
			probed(workflow.Broken), workflow.Failed, 3,
		},
		{
			"a probe is asked until it answers", "attach:do-lost#1 attach:probe-error#2",
			"reserve:do attach:do attach:do-error attach:probe attach:probe attach:probe start:do",
			probed(workflow.Done), workflow.Succeeded, 2,
		},
		{
			"an undo is tried until it succeeds", "start:do-error attach:undo-error#2 reserve:undo-panic#1",
			"reserve:do attach:do start:do start:do-error start:undo attach:undo attach:undo-error " +
				"attach:undo attach:undo-error attach:undo reserve:undo reserve:undo",
			nil, workflow.Failed, 5,
		},
		{
			"a new round", "start:do-error#1",
			"reserve:do attach:do start:do start:do-error start:undo attach:undo attach:do start:do",
			func(s steps) { s["start"].Else, s["start"].Rounds = "attach", 1 }, workflow.Succeeded, 6,
		},
		{
			"no more rounds", "start:do-error",
			"reserve:do attach:do start:do start:do-error start:undo attach:undo attach:do " +
				"start:do start:do-error start:undo attach:undo reserve:undo",
			func(s steps) { s["start"].Else, s["start"].Rounds = "attach", 1 }, workflow.Failed, 9,
		},
		{
			"no undo below the point of no return", "start:do-error",
			"reserve:do attach:do start:do start:do-error start:undo",
			func(s steps) { s["attach"].NoReturn = true }, workflow.Failed, 3,
		},
		{
			"the point of no return itself fails", "attach:do-error",
			"reserve:do attach:do attach:do-error attach:undo reserve:undo",
			func(s steps) { s["attach"].NoReturn = true }, workflow.Failed, 3,
		},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			var trace workflowtest.Trace
			flow := workflowtest.Traced(workflowtest.Script(t, shop(c.change), c.setup), &trace)
			log := workflow.Begin(flow, time.Now())
			rec := workflowtest.NewRecorder(log)
			out, err := workflow.Engine[world]{Flow: flow, Recorder: rec, Fresh: true}.Run(t.Context(), world{}, log)
			require.NoError(t, err)
			require.Equal(t, c.calls, trace.String())
			require.Equal(t, c.result, out.Result)
			require.Equal(t, c.records, rec.Calls(), "the admission's write and the closing one come on top")
			if c.result == workflow.Failed {
				var failure *workflow.StepError
				require.ErrorAs(t, out.Err, &failure)
			}
		})
	}
}

func TestSingleStepTaskIsNotRecordedByTheEngine(t *testing.T) {
	flow := flowOf([]string{"stop"}, nil)
	log := workflow.Begin(flow, time.Now())
	rec := workflowtest.NewRecorder(log)
	out, err := workflow.Engine[world]{Flow: flow, Recorder: rec, Fresh: true}.Run(t.Context(), world{}, log)
	require.NoError(t, err)
	require.Equal(t, 0, rec.Calls())
	require.Equal(t, "stop=done", journal(out.Log))
	require.Equal(t, "stop=doing", journal(rec.Log()))
	require.Equal(t, 1, out.Log[0].Try)
	require.False(t, out.Log[0].EndedAt.IsZero())
}

func TestRunFromAnEmptyLogRecordsTheFirstIntent(t *testing.T) {
	flow := flowOf([]string{"stop"}, func(s steps) { s["stop"].Resume = workflow.Undo })
	rec := workflowtest.NewRecorder(nil)
	out, err := workflow.Engine[world]{Flow: flow, Recorder: rec}.Run(t.Context(), world{}, nil)
	require.NoError(t, err)
	require.Equal(t, workflow.Succeeded, out.Result)
	require.Equal(t, "stop=doing", journal(rec.Log()))
}

func TestRunResumesByPolicy(t *testing.T) {
	probing := func(v workflow.Verdict) func(steps) {
		return func(s steps) { s["attach"].Resume, s["attach"].Probe = workflow.Probe, found(v) }
	}
	for _, c := range []struct {
		name, log, calls string
		change           func(s steps)
		fresh            bool
		result           workflow.Result
	}{
		{"redo", "reserve done, attach doing", "attach:do start:do", nil, false, workflow.Succeeded},
		{
			"probe: done", "reserve done, attach doing", "attach:probe start:do",
			probing(workflow.Done), false, workflow.Succeeded,
		},
		{
			"probe: not done", "reserve done, attach doing", "attach:probe attach:do start:do",
			probing(workflow.NotDone), false, workflow.Succeeded,
		},
		{
			"probe: broken", "reserve done, attach doing", "attach:probe attach:undo reserve:undo",
			probing(workflow.Broken), false, workflow.Failed,
		},
		{
			"undo", "reserve done, attach doing", "attach:undo reserve:undo",
			func(s steps) { s["attach"].Resume = workflow.Undo }, false, workflow.Failed,
		},
		{
			"fail", "reserve done, attach doing", "reserve:undo",
			func(s steps) { s["attach"].Resume, s["attach"].Undo = workflow.Fail, nil }, false, workflow.Failed,
		},
		{
			"never begun", "reserve done, attach doing", "attach:do start:do",
			func(s steps) { s["attach"].Resume = workflow.Undo }, true, workflow.Succeeded,
		},
		{
			"only the step found begun", "reserve doing", "reserve:do attach:do start:do",
			func(s steps) { s["attach"].Resume = workflow.Undo }, false, workflow.Succeeded,
		},
		{
			"undoing", "reserve done, attach failed, attach undoing", "attach:undo reserve:undo",
			nil, false, workflow.Failed,
		},
		{
			"only what was found", "reserve done, attach failed, attach undoing", "attach:undo reserve:do attach:do start:do",
			func(s steps) {
				s["reserve"].Resume, s["reserve"].Probe = workflow.Probe, found(workflow.Broken)
				s["attach"].Resume, s["start"].Resume = workflow.Undo, workflow.Undo
				s["attach"].Else, s["attach"].Rounds, s["reserve"].Undo = "reserve", 1, nil
			}, false, workflow.Succeeded,
		},
		{
			"rounds are counted in the log", "reserve done, attach failed, attach undone, reserve undone, " +
				"reserve done, attach failed, attach undoing", "attach:undo reserve:undo",
			func(s steps) { s["attach"].Else, s["attach"].Rounds = "reserve", 1 }, false, workflow.Failed,
		},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			var trace workflowtest.Trace
			flow, log := workflowtest.Traced(shop(c.change), &trace), logOf(c.log)
			out, err := workflow.Engine[world]{
				Flow: flow, Recorder: workflowtest.NewRecorder(log), Fresh: c.fresh,
			}.Run(t.Context(), world{}, log)
			require.NoError(t, err)
			require.Equal(t, c.calls, trace.String())
			require.Equal(t, c.result, out.Result)
		})
	}
}

func TestFailureKeepsItsCauseAndItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flow := workflowtest.Script(t, shop(nil), "attach:do-error")
		log := workflow.Begin(flow, time.Now())
		rec := workflowtest.NewRecorder(log).CrashAt(3, workflowtest.AfterCommit)
		e := workflow.Engine[world]{Flow: flow, Recorder: rec, Reason: func(error) string { return "driver" }}
		out, err := e.Run(t.Context(), world{}, log)
		require.ErrorIs(t, err, workflowtest.ErrCrashed)
		require.Equal(t, "reserve=done attach=failed attach=undoing", journal(out.Log), "the last log known to be durable")

		e.Recorder = workflowtest.NewRecorder(log)
		out, err = e.Run(t.Context(), world{}, log)
		require.NoError(t, err)
		require.ErrorIs(t, out.Err, workflowtest.ErrScripted, "seen by this worker")
		require.True(t, out.Undone)

		e.Recorder = workflowtest.NewRecorder(rec.Log())
		out, err = e.Run(t.Context(), world{}, rec.Log())
		require.NoError(t, err)
		failure, ok := errors.AsType[*workflow.StepError](out.Err)
		require.True(t, ok)
		require.Equal(t, "attach: scripted (driver)", failure.Step+": "+failure.Message+" ("+failure.Reason+")")
		require.NoError(t, failure.Err, "only words were in the log")
	})
}

func TestPanicBecomesAnInternalError(t *testing.T) {
	flow := workflowtest.Script(t, shop(nil), "reserve:do-panic")
	log := workflow.Begin(flow, time.Now())
	out, err := workflow.Engine[world]{Flow: flow, Recorder: workflowtest.NewRecorder(log)}.Run(t.Context(), world{}, log)
	require.NoError(t, err)
	panicked, ok := errors.AsType[*workflow.PanicError](out.Err)
	require.True(t, ok)
	require.Contains(t, string(panicked.Stack), "script")
	require.ErrorContains(t, out.Err, `internal error: do of step "reserve" panicked: scripted`)
}

func TestRunStopsWithoutRecording(t *testing.T) {
	lost := errors.New("lost the claim")
	for _, c := range []struct {
		name   string
		change func(e *workflow.Engine[world], stop context.CancelCauseFunc)
		calls  string
		want   string // durable when it stopped
	}{
		{"context ends in do", func(e *workflow.Engine[world], stop context.CancelCauseFunc) {
			e.Flow.Steps[1].Do = func(context.Context, world, workflow.Beat) error { stop(lost); return nil }
		}, "reserve:do attach:do", "reserve=done attach=doing"},
		{"context ends in undo", func(e *workflow.Engine[world], stop context.CancelCauseFunc) {
			e.Flow = workflowtest.Script(t, e.Flow, "attach:do-error")
			e.Flow.Steps[1].Undo = func(context.Context, world, workflow.Beat) error { stop(lost); return nil }
		}, "reserve:do attach:do attach:do-error attach:undo", "reserve=done attach=failed attach=undoing"},
		{"context ends in a do that would be tried again", func(e *workflow.Engine[world], stop context.CancelCauseFunc) {
			e.Flow.Steps[1].Tries = 2
			e.Flow.Steps[1].Do = func(ctx context.Context, _ world, _ workflow.Beat) error {
				stop(lost)
				return workflow.Retryable(ctx.Err())
			}
		}, "reserve:do attach:do attach:do-error", "reserve=done attach=doing"},
		{"guard says no", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			asked := 0
			e.Guard = func(context.Context) error {
				if asked++; asked == 2 {
					return lost
				}
				return nil
			}
		}, "reserve:do", "reserve=done attach=doing"},
		{"a step abandons", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			e.Flow.Steps[1].Do = func(context.Context, world, workflow.Beat) error { return workflow.Abandon(lost) }
		}, "reserve:do attach:do attach:do-error", "reserve=done attach=doing"},
		{"record fails", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			e.Recorder = refusing{lost}
		}, "reserve:do", "reserve=doing"},
		{"record of another try fails", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			e.Flow.Steps[0].Tries = 2
			e.Flow = workflowtest.Script(t, e.Flow, "reserve:do-retry")
			e.Recorder = refusing{lost}
		}, "reserve:do reserve:do-error", "reserve=doing"},
		{"context ends between tries", func(e *workflow.Engine[world], stop context.CancelCauseFunc) {
			e.Flow.Steps[1].Tries = 2
			e.Flow.Steps[1].Do = func(context.Context, world, workflow.Beat) error {
				time.AfterFunc(time.Millisecond, func() { stop(lost) })
				return workflow.Retryable(errors.New("busy"))
			}
		}, "reserve:do attach:do attach:do-error", "reserve=done attach=doing"},
		{"a probe abandons", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			e.Flow = workflowtest.Script(t, e.Flow, "reserve:do-lost")
			e.Flow.Steps[0].Probe = func(context.Context, world) (workflow.Verdict, error) {
				return 0, workflow.Abandon(lost)
			}
		}, "reserve:do reserve:do-error reserve:probe", "reserve=doing"},
		{"an undo abandons", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			e.Flow = workflowtest.Script(t, e.Flow, "reserve:do-error")
			e.Flow.Steps[0].Undo = func(context.Context, world, workflow.Beat) error { return workflow.Abandon(lost) }
		}, "reserve:do reserve:do-error reserve:undo reserve:undo-error", "reserve=failed reserve=undoing"},
		{"record is stale for a step with an effect", func(e *workflow.Engine[world], _ context.CancelCauseFunc) {
			e.Recorder = refusing{fmt.Errorf("%w: %w", workflow.ErrStale, lost)}
		}, "reserve:do", "reserve=doing"},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			var trace workflowtest.Trace
			e := workflow.Engine[world]{Flow: shop(nil), Fresh: true}
			log := workflow.Begin(e.Flow, time.Now())
			e.Recorder = workflowtest.NewRecorder(log)
			c.change(&e, stop)
			e.Flow = workflowtest.Traced(e.Flow, &trace)
			out, err := e.Run(ctx, world{}, log)
			require.ErrorIs(t, err, lost)
			require.Equal(t, c.calls, trace.String())
			require.Equal(t, c.want, journal(out.Log))
			require.Empty(t, out.Result)
			if rec, ok := e.Recorder.(*workflowtest.Recorder); ok {
				require.Equal(t, c.want, journal(rec.Log()))
				require.LessOrEqual(t, rec.Calls(), strings.Count(c.want, " ")+strings.Count(c.name, "between tries"))
			}
		})
	}
}

// refusing is a Recorder that always fails.
type refusing struct{ err error }

func (r refusing) Record(context.Context, workflow.Log) error { return r.err }

func TestPureStepDecidesAgainWhenItsRecordIsStale(t *testing.T) {
	for _, c := range []struct {
		name  string
		stale int
		setup string
		calls string
		want  error
	}{
		{"do", 2, "", "reserve:do reserve:do reserve:do attach:do start:do", nil},
		{"bounded", 99, "", strings.TrimSpace(strings.Repeat("reserve:do ", 8)), workflow.ErrStale},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			var trace workflowtest.Trace
			flow := workflowtest.Traced(shop(func(s steps) { s["reserve"].Pure = true }), &trace)
			log := workflow.Begin(flow, time.Now())
			rec := workflowtest.NewRecorder(log).Stale(c.stale)
			_, err := workflow.Engine[world]{Flow: flow, Recorder: rec, Fresh: true}.Run(t.Context(), world{}, log)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.calls, trace.String())
		})
	}
}

func TestPureStepUndoesAgainWhenItsRecordIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trace workflowtest.Trace
		flow := workflowtest.Traced(shop(func(s steps) { s["attach"].Pure = true }), &trace)
		log := logOf("reserve done, attach failed, attach undoing")
		rec := workflowtest.NewRecorder(log).Stale(1)
		out, err := workflow.Engine[world]{Flow: flow, Recorder: rec}.Run(t.Context(), world{}, log)
		require.NoError(t, err)
		require.Equal(t, workflow.Failed, out.Result)
		require.Equal(t, "attach:undo attach:undo reserve:undo", trace.String())
	})
}

func TestTriesAreCountedInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trace workflowtest.Trace
		flow := workflowtest.Script(t, shop(func(s steps) { s["attach"].Tries = 3 }), "attach:do-retry")
		flow = workflowtest.Traced(flow, &trace)
		log := workflow.Begin(flow, time.Now())
		rec := workflowtest.NewRecorder(log).CrashAt(2, workflowtest.AfterCommit)
		e := workflow.Engine[world]{Flow: flow, Recorder: rec}
		_, err := e.Run(t.Context(), world{}, log)
		require.ErrorIs(t, err, workflowtest.ErrCrashed)
		last := rec.Log()[1]
		require.Equal(t, 2, last.Try)
		require.Equal(t, "scripted", last.Error, "why it is tried again")

		e.Recorder = workflowtest.NewRecorder(rec.Log())
		_, err = e.Run(t.Context(), world{}, rec.Log())
		require.NoError(t, err)
		require.Equal(t, 3, strings.Count(trace.String(), "attach:do-error"), "two of them by the successor")
	})
}

func TestOutermostClassOfAnErrorCounts(t *testing.T) {
	busy := errors.New("busy")
	for _, c := range []struct {
		name  string
		err   error
		tries int
	}{
		{"plain", busy, 1},
		{"permanent", workflow.Permanent(busy), 1},
		{"retryable", workflow.Retryable(busy), 3},
		{"unknown", workflow.Unknown(busy), 3},
		{"wrapped", fmt.Errorf("cannot dial: %w", workflow.Retryable(busy)), 3},
		{"permanent after all", workflow.Permanent(workflow.Retryable(busy)), 1},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			tries := 0
			out, _ := run(t, workflow.Engine[world]{Flow: flowOf([]string{"dial"}, func(s steps) {
				s["dial"].Tries = 3
				s["dial"].Do = func(context.Context, world, workflow.Beat) error { tries++; return c.err }
			})})
			require.Equal(t, c.tries, tries)
			require.ErrorIs(t, out.Err, busy)
			require.Equal(t, c.tries, out.Log[0].Try)
		})
	}
	require.NoError(t, workflow.Retryable(nil))
}

func TestProbeThatGivesUpFailsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the host was removed")
		flow := workflowtest.Script(t, shop(func(s steps) {
			s["attach"].Probe = func(context.Context, world) (workflow.Verdict, error) {
				return 0, workflow.Permanent(gone)
			}
		}), "attach:do-gone")
		out, _ := run(t, workflow.Engine[world]{Flow: flow})
		require.Equal(t, workflow.Failed, out.Result)
		require.ErrorIs(t, out.Err, gone)
	})
}

func TestPureStepIsTriedAgainAlthoughItsRecordIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flow := workflowtest.Script(t, flowOf([]string{"place"}, func(s steps) {
			s["place"].Pure, s["place"].Tries = true, 2
		}), "place:do-retry#1")
		log := workflow.Begin(flow, time.Now())
		rec := workflowtest.NewRecorder(log).Stale(1)
		out, err := workflow.Engine[world]{Flow: flow, Recorder: rec}.Run(t.Context(), world{}, log)
		require.NoError(t, err)
		require.Equal(t, workflow.Succeeded, out.Result)
		require.Equal(t, 2, out.Log[0].Try)
		require.Empty(t, out.Log[0].Error, "it was done in the end")
	})
}

func TestBadLogFailsTheTaskAndTouchesNothing(t *testing.T) {
	var trace workflowtest.Trace
	flow, log := workflowtest.Traced(shop(nil), &trace), logOf("reserve done, rename doing")
	out, err := workflow.Engine[world]{Flow: flow, Recorder: workflowtest.NewRecorder(log)}.Run(t.Context(), world{}, log)
	require.NoError(t, err)
	require.Equal(t, workflow.Failed, out.Result)
	require.ErrorIs(t, out.Err, workflow.ErrBadLog)
	require.ErrorContains(t, out.Err, "rename")
	require.False(t, out.Undone)
	require.Empty(t, trace.String())
}
