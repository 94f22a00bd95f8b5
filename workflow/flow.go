package workflow

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Policy says what a successor does with a step that it finds begun without a result.
type Policy int

// The policies. There is no default: each step says its own.
const (
	Redo  Policy = iota + 1 // do it again
	Probe                   // ask the outside world what became of it
	Undo                    // it failed: undo it and what came before
	Fail                    // it failed and has no undo: undo what came before
)

// Verdict is what Probe found.
type Verdict int

// The verdicts.
const (
	Done    Verdict = iota + 1 // it happened, wholly
	NotDone                    // it did not, or only in part: doing it again is right
	Broken                     // it failed and doing it again is of no use
)

// DefaultSilence is how long a step may go without a beat. A driver reports each second while anything moves, so this
// is sixty missed reports.
const DefaultSilence = 60 * time.Second

// Progress is what a beat may tell. Done and Total are in Unit; Total 0 means unknown. At is filled in when zero.
type Progress struct {
	Phase string
	Done  int64
	Total int64
	Unit  string
	Note  string
	At    time.Time
}

// Beat tells that a step goes on. It may be called from any goroutine, and does nothing once the step has returned.
type Beat func(Progress)

// Step is one part of a flow. C is what the caller gives all steps of one run to work with.
type Step[C any] struct {
	Name   string // unique in the flow; it stands in durable logs, so it is never renamed
	Resume Policy
	// Pure: the step only decides. Its effect is what Record writes with its outcome, so when that write lost a compare
	// (ErrStale), Do, or Undo, runs again on what is true now. A pure step resumes by Redo.
	Pure bool
	// Do makes the effect. The class of its error (Retryable, Unknown, Permanent, Abandon) decides what follows; an error
	// without a class is permanent.
	Do func(ctx context.Context, c C, beat Beat) error
	// Undo takes back whatever Do may have left; nil when Do leaves nothing. It is tried until it succeeds.
	Undo func(ctx context.Context, c C, beat Beat) error
	// Probe finds out what became of a Do whose result is unknown. It changes nothing. Its error means that the answer is
	// not known yet, so it is asked again, unless the error is Permanent: then the step has failed.
	Probe func(ctx context.Context, c C) (Verdict, error)
	// NoReturn: once this step is done the flow only goes forward. Cancel is too late from its intent on.
	NoReturn bool
	Tries    int // of Do, for errors that are Retryable or Unknown; 0 means 1

	// The wait before try n is within [d/2, d], d = min(Backoff * 2^(n-2), MaxBackoff); spread, because the steps of many
	// tasks fail together when a host does. Zero means 1 s and 30 s. Undo and Probe never wait longer than 30 s.
	Backoff    time.Duration
	MaxBackoff time.Duration
	// Silence is the no-progress deadline, DefaultSilence when zero. A Do, Undo or Probe without a beat for so long has
	// its context ended with ErrNoProgress; one that beats is left alone however long it takes (P7).
	Silence time.Duration
	// Else names an earlier step. When this one failed for good, everything back to and including Else is undone and the
	// flow goes on from there, at most Rounds times in the life of the log.
	Else   string
	Rounds int
}

// Flow is a list of steps that are done in order and undone in reverse.
type Flow[C any] struct {
	Name  string
	Steps []Step[C]
}

// Validate refuses a flow that could not keep the invariants. Flows are constants of the program: a test calls it.
func (f Flow[C]) Validate() error {
	if f.Name == "" {
		return fmt.Errorf("cannot use flow: it has no name")
	}
	if len(f.Steps) == 0 {
		return fmt.Errorf("cannot use flow %q: it has no steps", f.Name)
	}
	for i, s := range f.Steps {
		if why := f.fault(i); why != "" {
			return fmt.Errorf("cannot use flow %q: step %d %q %s", f.Name, i, s.Name, why)
		}
	}
	return nil
}

// fault says what is wrong with step i, "" when nothing is.
func (f Flow[C]) fault(i int) string {
	s := f.Steps[i]
	switch {
	case s.Name == "":
		return "has no name"
	case f.index(s.Name) != i:
		return "has the name of an earlier one"
	case s.Do == nil:
		return "has no Do"
	case s.Resume < Redo || s.Resume > Fail:
		return "has no resume policy"
	case s.Resume == Probe && s.Probe == nil:
		return "resumes by Probe and has none"
	case s.Resume == Undo && s.Undo == nil:
		return "resumes by Undo and has none"
	case s.Resume == Fail && s.Undo != nil:
		return "has an Undo: it resumes by Undo, not by Fail"
	case s.Pure && s.Resume != Redo:
		return "is pure: it resumes by Redo"
	case s.Tries < 0 || s.Backoff < 0 || s.MaxBackoff < 0 || s.Silence < 0 || s.Rounds < 0:
		return "has a negative limit"
	case (s.Else == "") != (s.Rounds == 0):
		return "needs both Else and Rounds, or neither"
	case s.Else == "":
		return ""
	}
	to := f.index(s.Else)
	if to < 0 || to >= i {
		return fmt.Sprintf("goes on from %q, which is no earlier step", s.Else)
	}
	if slices.ContainsFunc(f.Steps[to:i], func(s Step[C]) bool { return s.NoReturn }) {
		return fmt.Sprintf("goes on from %q, behind a point of no return", s.Else)
	}
	return ""
}

// index is the place of the step called name, -1 when there is none.
func (f Flow[C]) index(name string) int {
	return slices.IndexFunc(f.Steps, func(s Step[C]) bool { return s.Name == name })
}
