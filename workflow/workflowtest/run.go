package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/workflow"
)

// Case is a flow and a world to run it in.
type Case[C any] struct {
	Flow workflow.Flow[C]
	// New makes a world in which the flow succeeds. It may use t.Cleanup.
	New func(t *testing.T) C
	// Check compares the world with the outcome: what the flow promises on success, the world as New made it when
	// out.Undone, and whatever the flow promises when it failed behind its point of no return.
	Check func(t *testing.T, c C, out workflow.Outcome)
	// Saved is called at each commit, the closing one included: c's decisions are durable now. May be nil.
	Saved func(c C)
	// Successor is what another conductor has of c after a crash: the same outside world, and of the rest what Saved has
	// seen. Nil: c itself.
	Successor func(t *testing.T, c C) C
}

// Run puts the case through all tests.
func Run[C any](t *testing.T, c Case[C]) {
	t.Helper()
	require.NoError(t, c.Flow.Validate())
	t.Run("succeeds", c.succeeds)
	t.Run("twice", c.twice)
	t.Run("fails", c.fails)
	t.Run("crashes", c.crashes)
	t.Run("cancelled", c.cancelled)
}

func (c Case[C]) succeeds(t *testing.T) {
	c.story(t, "", func(t *testing.T) {
		out := c.life(t, c.Flow, c.New(t), nil)
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
	})
}

func (c Case[C]) twice(t *testing.T) {
	again := wrapped(c.Flow, func(_ int, s *workflow.Step[C]) {
		s.Do = doubled(s.Do)
		if s.Undo != nil {
			s.Undo = doubled(s.Undo)
		}
	})
	c.story(t, "do", func(t *testing.T) {
		out := c.life(t, again, c.New(t), nil)
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
	})
	for _, s := range c.Flow.Steps {
		c.story(t, "undo/"+s.Name, func(t *testing.T) {
			out := c.life(t, Script(t, again, s.Name+":do-late"), c.New(t), nil)
			require.Equal(t, workflow.Failed, out.Result)
		})
	}
}

func doubled[C any](f function[C]) function[C] {
	return func(ctx context.Context, c C, beat workflow.Beat) error {
		if err := f(ctx, c, beat); err != nil {
			return err
		}
		return f(ctx, c, beat)
	}
}

func (c Case[C]) fails(t *testing.T) {
	for i, s := range c.Flow.Steps {
		for _, fault := range []string{"do-error", "do-late", "do-panic"} {
			c.story(t, s.Name+"/"+fault, func(t *testing.T) {
				var trace Trace
				flow := Traced(Script(t, c.Flow, s.Name+":"+fault), &trace)
				out := c.life(t, flow, c.New(t), nil)
				require.Equal(t, workflow.Failed, out.Result)
				require.ErrorContains(t, out.Err, s.Name)
				require.Equal(t, !slices.ContainsFunc(c.Flow.Steps[:i], noReturn), out.Undone)
				if s.Else == "" && fault != "do-panic" {
					require.Equal(t, unwound(c.Flow, i), trace.String())
				}
			})
		}
		c.story(t, s.Name+"/do-lost", func(t *testing.T) {
			c.life(t, Script(t, c.Flow, s.Name+":do-lost#1"), c.New(t), nil)
		})
		if s.Else != "" {
			c.story(t, s.Name+"/do-error#1", func(t *testing.T) {
				out := c.life(t, Script(t, c.Flow, s.Name+":do-error#1"), c.New(t), nil)
				require.Equal(t, workflow.Succeeded, out.Result, "the flow goes on from %s: %v", s.Else, out.Err)
			})
		}
	}
}

// unwound is the trace of a flow whose step i fails for good.
func unwound[C any](flow workflow.Flow[C], i int) string {
	var calls []string
	lowest := 0
	for k, s := range flow.Steps[:i+1] {
		calls = append(calls, s.Name+":do")
		if k < i && s.NoReturn {
			lowest = k + 1
		}
	}
	calls = append(calls, flow.Steps[i].Name+":do-error")
	for k := i; k >= lowest; k-- {
		if flow.Steps[k].Undo != nil {
			calls = append(calls, flow.Steps[k].Name+":undo")
		}
	}
	return strings.Join(calls, " ")
}

func (c Case[C]) crashes(t *testing.T) {
	faults := []string{""}
	for _, s := range c.Flow.Steps {
		faults = append(faults, s.Name+":do-error", s.Name+":do-late")
	}
	for _, fault := range faults {
		records, calm := 0, workflow.Outcome{}
		c.story(t, fault+"/never", func(t *testing.T) {
			rec := NewRecorder(workflow.Begin(c.Flow, time.Now()))
			calm = c.life(t, Script(t, c.Flow, fault), c.New(t), rec)
			records = rec.Calls()
		})
		for n := 1; n <= records; n++ {
			for _, m := range []Moment{BeforeCommit, AfterCommit} {
				c.story(t, fmt.Sprintf("%s/%s_record_%d", fault, m, n), func(t *testing.T) {
					c.crash(t, Script(t, c.Flow, fault), calm.Result, func(life int, r *Recorder) bool {
						if life == 0 {
							r.CrashAt(n, m)
						}
						return false
					})
				})
			}
		}
		c.story(t, fault+"/before_finish", func(t *testing.T) {
			c.crash(t, Script(t, c.Flow, fault), calm.Result, func(life int, _ *Recorder) bool { return life == 0 })
		})
		c.story(t, fault+"/after_each_record", func(t *testing.T) {
			c.crash(t, Script(t, c.Flow, fault), calm.Result, func(_ int, r *Recorder) bool {
				r.CrashAt(1, AfterCommit)
				return false
			})
		})
	}
}

// maxLives bounds the successors of one task; a flow of n steps needs about 2n for each of its rounds.
const maxLives = 1000

// crash runs one life after the other, each from what was durable, until one comes to its end. plan arranges a life's
// crash; true: it comes to its end and crashes before the caller's closing transaction. calm is how the flow ends
// without a crash, which only a policy of giving up may change.
func (c Case[C]) crash(
	t *testing.T, flow workflow.Flow[C], calm workflow.Result, plan func(life int, r *Recorder) (loseFinish bool),
) {
	t.Helper()
	world := c.New(t)
	log := workflow.Begin(flow, time.Now())
	gaveUp := false
	for life := range maxLives {
		rec := c.recorder(log, world)
		loseFinish := plan(life, rec)
		out, err := workflow.Engine[C]{Flow: flow, Recorder: rec, Fresh: life == 0}.Run(t.Context(), world, log)
		if err == nil && !loseFinish {
			c.check(t, flow, world, out)
			if !gaveUp {
				require.Equal(t, calm, out.Result, "%v", out.Err)
			}
			return
		}
		if err != nil {
			require.ErrorIs(t, err, ErrCrashed)
		}
		log = rec.Log()
		last := log[len(log)-1]
		at := slices.IndexFunc(flow.Steps, func(s workflow.Step[C]) bool { return s.Name == last.Step })
		if policy := flow.Steps[at].Resume; last.Status == workflow.StepDoing {
			lucky := policy == workflow.Probe && calm == workflow.Failed // the scripted answer was never heard
			gaveUp = gaveUp || policy == workflow.Undo || policy == workflow.Fail || lucky
		}
		if c.Successor != nil {
			world = c.Successor(t, world)
		}
	}
	require.Fail(t, "the task never ended", "%v", log)
}

func (c Case[C]) cancelled(t *testing.T) {
	for i, s := range c.Flow.Steps {
		late := slices.ContainsFunc(c.Flow.Steps[:i+1], noReturn)
		c.story(t, "in/"+s.Name, func(t *testing.T) {
			c.cancelIn(t, i, late, func(cancel func(), do function[C]) function[C] {
				return func(ctx context.Context, w C, beat workflow.Beat) error {
					cancel()
					if late {
						return do(ctx, w, beat)
					}
					<-ctx.Done()
					return errors.New("cut short")
				}
			})
		})
		c.story(t, "after/"+s.Name, func(t *testing.T) {
			c.cancelIn(t, i, late || i == len(c.Flow.Steps)-1, func(cancel func(), do function[C]) function[C] {
				return func(ctx context.Context, w C, beat workflow.Beat) error {
					defer cancel()
					return do(ctx, w, beat)
				}
			})
		})
	}
}

// cancelIn cancels while step i runs, as with says, and expects that to work unless it is too late.
func (c Case[C]) cancelIn(t *testing.T, i int, late bool, with func(cancel func(), do function[C]) function[C]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	flow := wrapped(c.Flow, func(k int, s *workflow.Step[C]) {
		if k == i {
			s.Do = with(cancel, s.Do)
		}
	})
	world, log := c.New(t), workflow.Begin(flow, time.Now())
	out, err := workflow.Engine[C]{
		Flow: flow, Recorder: c.recorder(log, world), Fresh: true, Cancelled: ctx.Done(),
	}.Run(t.Context(), world, log)
	require.NoError(t, err)
	c.saved(world)
	if late {
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
	} else {
		require.Equal(t, workflow.Cancelled, out.Result, "%v", out.Err)
		require.True(t, out.Undone)
	}
	c.Check(t, world, out)
}

func noReturn[C any](s workflow.Step[C]) bool { return s.NoReturn }

// story is one test in a bubble of its own.
func (c Case[C]) story(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(strings.TrimPrefix(name, "/"), func(t *testing.T) { synctest.Test(t, f) })
}

// life runs flow from its admission to its end, and checks that.
func (c Case[C]) life(t *testing.T, flow workflow.Flow[C], world C, rec *Recorder) workflow.Outcome {
	t.Helper()
	log := workflow.Begin(flow, time.Now())
	if rec == nil {
		rec = NewRecorder(log)
	}
	rec.OnCommit(func() { c.saved(world) })
	out, err := workflow.Engine[C]{Flow: flow, Recorder: rec, Fresh: true}.Run(t.Context(), world, log)
	require.NoError(t, err)
	c.check(t, flow, world, out)
	return out
}

// check commits the end and asks whether log, result and world agree.
func (c Case[C]) check(t *testing.T, flow workflow.Flow[C], world C, out workflow.Outcome) {
	t.Helper()
	c.saved(world)
	d := workflow.Next(flow, out.Log, false)
	require.Equal(t, workflow.ActFinish, d.Act, "the log goes on: %v", out.Log)
	require.Equal(t, out.Result, d.Result)
	c.Check(t, world, out)
}

func (c Case[C]) recorder(log workflow.Log, world C) *Recorder {
	return NewRecorder(log).OnCommit(func() { c.saved(world) })
}

func (c Case[C]) saved(world C) {
	if c.Saved != nil {
		c.Saved(world)
	}
}
