package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"leasehold/workflow"
)

// ErrCrashed is what a Recorder returns when, and ever after, its process is said to be dead.
var ErrCrashed = errors.New("crashed")

// Moment is a side of a commit.
type Moment int

// The moments at which a Recorder crashes.
const (
	BeforeCommit Moment = iota // what was to be recorded is lost
	AfterCommit                // it is durable, and the writer does not know
)

func (m Moment) String() string { return [...]string{"before", "after"}[m] }

// Recorder keeps a log as a store would, and refuses what no engine may write: a change of a settled entry, a log that
// does not end in an intent, a write under an ended context. It is for one goroutine.
type Recorder struct {
	log     workflow.Log
	calls   int
	crashAt int
	moment  Moment
	stale   int
	dead    bool
	saved   func()
}

// NewRecorder has log as durable, as an admission leaves it.
func NewRecorder(log workflow.Log) *Recorder { return &Recorder{log: slices.Clone(log)} }

// CrashAt makes the n-th call of Record, from 1, the last one.
func (r *Recorder) CrashAt(n int, m Moment) *Recorder {
	r.crashAt, r.moment = n, m
	return r
}

// Stale makes the next n calls of Record lose a compare.
func (r *Recorder) Stale(n int) *Recorder {
	r.stale = n
	return r
}

// OnCommit calls f at each commit: what belongs to the same transaction.
func (r *Recorder) OnCommit(f func()) *Recorder {
	r.saved = f
	return r
}

// Log is what is durable.
func (r *Recorder) Log() workflow.Log { return slices.Clone(r.log) }

// Calls is how often Record was called.
func (r *Recorder) Calls() int { return r.calls }

// Record implements workflow.Recorder.
func (r *Recorder) Record(ctx context.Context, log workflow.Log) error {
	r.calls++
	if r.dead {
		return ErrCrashed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot record: a write under an ended context: %w", err)
	}
	if err := follows(r.log, log); err != nil {
		return err
	}
	if r.stale > 0 {
		r.stale--
		return workflow.ErrStale
	}
	r.dead = r.calls == r.crashAt
	if r.dead && r.moment == BeforeCommit {
		return ErrCrashed
	}
	r.log = slices.Clone(log)
	if r.saved != nil {
		r.saved()
	}
	if r.dead {
		return ErrCrashed
	}
	return nil
}

// follows refuses a log that is not one outcome and one intent after the durable one.
func follows(durable, log workflow.Log) error {
	settled := max(0, len(durable)-1)
	if len(log) < max(1, len(durable)) || len(log) > len(durable)+1 {
		return fmt.Errorf("cannot record: %d entries after %d", len(log), len(durable))
	}
	if !slices.Equal(log[:settled], durable[:settled]) {
		return errors.New("cannot record: a settled entry was changed")
	}
	for i, e := range log {
		if open := e.Status == workflow.StepDoing || e.Status == workflow.StepUndoing; open != (i == len(log)-1) {
			return fmt.Errorf("cannot record: entry %d of %d is %s", i, len(log), e.Status)
		}
	}
	return nil
}
