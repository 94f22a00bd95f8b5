package workflow

import "fmt"

// Act is what a decision says to do.
type Act int

// The acts.
const (
	ActDo Act = iota + 1
	ActUndo
	ActFinish
)

// Result is how a task ended.
type Result string

// The values of Result.
const (
	Succeeded Result = "succeeded"
	Failed    Result = "failed"
	Cancelled Result = "cancelled"
)

// Decision is what comes next for a log.
type Decision struct {
	Act   Act
	Step  string // to do or undo
	Begun bool   // the log ends with this very intent already

	Result Result // of ActFinish
	Err    error  // why, unless Succeeded: a *StepError, ErrCancelled, or an error that wraps ErrBadLog
	Undone bool   // everything that was begun is undone
}

func (d Decision) String() string {
	begun := ""
	if d.Begun {
		begun = " again"
	}
	switch d.Act {
	case ActDo:
		return "do " + d.Step + begun
	case ActUndo:
		return "undo " + d.Step + begun
	default:
		return "finish " + string(d.Result)
	}
}

// Next decides what comes after log. It is pure and total: a log that flow cannot have written gives a failure with
// its reason (P4). cancelled is heeded until TooLate.
func Next[C any](flow Flow[C], log Log, cancelled bool) Decision {
	if err := flow.Validate(); err != nil {
		return Decision{Act: ActFinish, Result: Failed, Err: fmt.Errorf("%w: %w", ErrBadLog, err)}
	}
	p := place[C]{flow: flow, undo: -1, back: -1, cause: -1}
	if err := p.read(log); err != nil {
		return Decision{Act: ActFinish, Result: Failed, Err: err}
	}
	cancelled = cancelled && p.floor == 0
	switch last := log.last(); {
	case last.Status == StepUndoing:
		return Decision{Act: ActUndo, Step: last.Step, Begun: true}
	case last.Status == StepDoing && cancelled && !flow.Steps[p.at].NoReturn:
		return Decision{Act: ActUndo, Step: last.Step} // in the place of the doing
	case last.Status == StepDoing:
		return Decision{Act: ActDo, Step: last.Step, Begun: true}
	}
	if !p.unwinding {
		if p.at == len(flow.Steps) {
			return Decision{Act: ActFinish, Result: Succeeded}
		}
		if !cancelled {
			return Decision{Act: ActDo, Step: flow.Steps[p.at].Name}
		}
		p.turn()
	}
	return p.unwind(log, cancelled)
}

// unwind decides for a flow that goes backwards and has no open entry.
func (p *place[C]) unwind(log Log, cancelled bool) Decision {
	goOn := p.back >= 0 && !cancelled
	lowest := p.floor
	if goOn {
		lowest = p.back
	}
	if k := p.pending(lowest); k >= 0 {
		return Decision{Act: ActUndo, Step: p.flow.Steps[k].Name}
	}
	if goOn {
		return Decision{Act: ActDo, Step: p.flow.Steps[p.back].Name}
	}
	d := Decision{Act: ActFinish, Result: Cancelled, Err: ErrCancelled, Undone: p.floor == 0}
	if p.cause >= 0 && p.back < 0 { // with a round left it would have gone on: then it was the cancel that ended it
		e := log[p.cause]
		d.Result, d.Err = Failed, &StepError{Step: e.Step, Message: e.Error, Reason: e.Reason, at: p.cause}
	}
	return d
}

// TooLate says that a cancel can no longer be heeded: a NoReturn step is done or being done, or all steps are done. It
// is true for a log that flow cannot have written.
func TooLate[C any](flow Flow[C], log Log) bool {
	p := place[C]{flow: flow, undo: -1, back: -1, cause: -1}
	if flow.Validate() != nil || p.read(log) != nil {
		return true
	}
	if p.floor > 0 || p.at == len(flow.Steps) {
		return true
	}
	return log.last().Status == StepDoing && flow.Steps[p.at].NoReturn
}
