package workflow

import "fmt"

// place is where a log stands in its flow. Forwards: steps[:at] are done. Unwinding: of steps[:undo+1] those with an
// Undo, and not below floor, are still to be undone.
type place[C any] struct {
	flow      Flow[C]
	at        int
	floor     int // the step after the last done NoReturn one, 0 without one
	unwinding bool
	undo      int
	cause     int // the log's failed entry that turned it, -1 for a cancel
	back      int // the step to go on from when unwound so far, -1 for none
}

// read follows log from its start and refuses the first entry that cannot stand where it does.
func (p *place[C]) read(log Log) error {
	failures := make([]int, len(p.flow.Steps))
	for i, e := range log {
		k := p.flow.index(e.Step)
		if k < 0 {
			return bad(i, e, "the flow has no such step")
		}
		if open := e.Status == StepDoing || e.Status == StepUndoing; open && i < len(log)-1 {
			return bad(i, e, "only the last entry can be open")
		}
		var ok bool
		switch e.Status {
		case StepDoing:
			ok = p.enter(k)
		case StepDone:
			if ok = p.enter(k); ok {
				p.done(k)
			}
		case StepFailed:
			if ok = p.enter(k); ok {
				failures[k]++
				p.failed(k, i, failures[k])
			}
		case StepUndoing, StepUndone:
			ok = p.leave(k)
		default:
			return bad(i, e, "unknown status")
		}
		if !ok {
			return bad(i, e, "out of order")
		}
	}
	return nil
}

func bad(i int, e Entry, why string) error {
	return fmt.Errorf("%w: entry %d (%s %s): %s", ErrBadLog, i, e.Step, e.Status, why)
}

// enter begins step k: the next one, or the one that a new round goes on from.
func (p *place[C]) enter(k int) bool {
	if p.newRound(k) {
		p.unwinding, p.at, p.back, p.cause = false, k, -1, -1
		return true
	}
	return !p.unwinding && k == p.at
}

// newRound says whether k is where a round may begin now.
func (p *place[C]) newRound(k int) bool {
	return p.unwinding && k == p.back && p.pending(k) < 0
}

func (p *place[C]) done(k int) {
	p.at = k + 1
	if p.flow.Steps[k].NoReturn {
		p.floor = k + 1
	}
}

// failed turns the flow at step k, which is undone as well.
func (p *place[C]) failed(k, entry, failures int) {
	p.unwinding, p.undo, p.cause, p.back = true, k, entry, -1
	if s := p.flow.Steps[k]; failures <= s.Rounds {
		p.back = p.flow.index(s.Else)
	}
}

// turn starts to unwind what is done because of a cancel.
func (p *place[C]) turn() {
	p.unwinding, p.undo, p.cause, p.back = true, p.at-1, -1, -1
}

// leave undoes step k: the one being done (a cancel took the place of its intent), or the highest one left.
func (p *place[C]) leave(k int) bool {
	if p.newRound(k) || !p.unwinding && k == p.at {
		if p.floor > 0 || p.flow.Steps[k].NoReturn {
			return false
		}
		p.at = k
		p.turn()
		return true
	}
	if !p.unwinding {
		if p.floor > 0 || p.at == len(p.flow.Steps) {
			return false
		}
		p.turn()
	}
	if k < p.floor || p.pending(p.floor) != k {
		return false
	}
	p.undo = k - 1
	if k < p.back { // past the start of the next round: a cancel came in between
		p.back, p.cause = -1, -1
	}
	return true
}

// pending is the next step to undo that is not below lowest, -1 when there is none.
func (p *place[C]) pending(lowest int) int {
	for k := p.undo; k >= lowest; k-- {
		if p.flow.Steps[k].Undo != nil {
			return k
		}
	}
	return -1
}
