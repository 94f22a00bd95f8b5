package workflow

import "time"

// Op names one of a step's functions.
type Op string

// The values of Op.
const (
	OpDo    Op = "do"
	OpUndo  Op = "undo"
	OpProbe Op = "probe"
)

// Observer hears what happens, for metrics and for people. Its methods are called from the goroutine of Run, but
// StepProgress and StepWaits may be called from another one; they must not block.
type Observer interface {
	StepStarted(step string, op Op)
	StepEnded(step string, op Op, took time.Duration, err error)
	StepProgress(step string, p Progress)
	// StepWaits tells why a step does not move. An undo that waits again and again keeps the task open: raise an alert.
	StepWaits(step string, w Wait)
}

// Wait says why a step does not move. RetryIn 0: the function has not returned although its context has ended.
type Wait struct {
	Op      Op
	Tries   int // that failed
	Err     error
	RetryIn time.Duration
}

type silent struct{}

func (silent) StepStarted(string, Op)                     {}
func (silent) StepEnded(string, Op, time.Duration, error) {}
func (silent) StepProgress(string, Progress)              {}
func (silent) StepWaits(string, Wait)                     {}
