package workflow

import (
	"errors"
	"fmt"
)

// Sentinels that callers branch on.
var (
	// ErrStale is what a Recorder returns when its write lost a compare on a record that a decision was based on, and the
	// caller still owns the task. The write has not happened.
	ErrStale = errors.New("cannot record: what the step was decided on has changed")
	// ErrNoProgress is the cause that ends the context of a silent step. Its outcome is then unknown.
	ErrNoProgress = errors.New("no progress")
	// ErrCancelled is the cause that ends the context of a step whose task is cancelled, and Outcome.Err of such a task.
	ErrCancelled = errors.New("cancelled")
	// ErrBadLog is in the error of an Outcome whose log this flow cannot have written. Nothing was undone.
	ErrBadLog = errors.New("cannot go on from this log")
	// ErrInterrupted is why a step failed whose policy does not let a successor do it again.
	ErrInterrupted = errors.New("begun by an earlier worker that did not record a result")
)

type class int

const (
	plain class = iota
	permanent
	retryable
	unknown
	abandoned
)

// classifiedError gives an error its class; the outermost one counts.
type classifiedError struct {
	class
	error
}

func (c *classifiedError) Unwrap() error { return c.error }

// Permanent says that trying again is of no use. It is what an error without a class means, too, except to Probe.
func Permanent(err error) error { return classify(permanent, err) }

// Retryable says that it did not happen and may succeed when tried again, as often as Tries allows.
func Retryable(err error) error { return classify(retryable, err) }

// Unknown says that it may have happened. The step's Probe is asked; without one Do is run again, as often as Tries
// allows.
func Unknown(err error) error { return classify(unknown, err) }

// Abandon says that this worker cannot or may not go on while another could: it was replaced, or cannot reach the host.
// Run returns the error and records nothing; the log stays as it is for a successor.
func Abandon(err error) error { return classify(abandoned, err) }

func classify(c class, err error) error {
	if err == nil {
		return nil
	}
	return &classifiedError{class: c, error: err}
}

func classOf(err error) class {
	if c, ok := errors.AsType[*classifiedError](err); ok {
		return c.class
	}
	return plain
}

// StepError says which step made a task fail, and why. After a takeover Err is nil: only the words are durable.
type StepError struct {
	Step    string
	Message string
	Reason  string // the caller's word, from Engine.Reason
	Err     error

	at int // the failed entry's place in the log
}

func (e *StepError) Error() string { return fmt.Sprintf("cannot do step %q: %s", e.Step, e.Message) }
func (e *StepError) Unwrap() error { return e.Err }

// PanicError is a panic in a step, caught: the task fails and the process lives.
type PanicError struct {
	Step  string
	Op    Op
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("internal error: %s of step %q panicked: %v", e.Op, e.Step, e.Value)
}
