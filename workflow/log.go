package workflow

import (
	"slices"
	"time"
)

// Status says how far one entry of a log is.
type Status string

// The values of Status. Doing and undoing are intents: the effect may not have begun, or may be complete.
const (
	StepDoing   Status = "doing"
	StepDone    Status = "done"
	StepFailed  Status = "failed" // for good
	StepUndoing Status = "undoing"
	StepUndone  Status = "undone"
)

// Entry is one turn of one step: a Do (doing, done, failed) or an Undo (undoing, undone). The Do of a cancelled step
// becomes its Undo in the same entry, so a log without a failed entry tells of a cancel.
type Entry struct {
	Step      string
	Status    Status
	Error     string    // of a failed entry: why; of a doing one: why the try before this one failed
	Reason    string    // the caller's own word for Error, from Engine.Reason
	Try       int       // of Do, from 1
	RetryAt   time.Time // of a doing entry: when Try begins, after one that failed; zero once it has ended
	StartedAt time.Time
	EndedAt   time.Time // zero while open
}

// Log is the journal of one task, oldest entry first. It is a value: functions return a new one.
type Log []Entry

// Begin is the log that an admission writes: the intent of the first step. It is empty for a flow without steps.
func Begin[C any](flow Flow[C], now time.Time) Log {
	if len(flow.Steps) == 0 {
		return nil
	}
	return Log(nil).begin(StepDoing, flow.Steps[0].Name, now)
}

// last is the newest entry, zero when there is none.
func (l Log) last() Entry {
	if len(l) == 0 {
		return Entry{}
	}
	return l[len(l)-1]
}

// begin adds an intent. An undo of the step that is being done takes the place of its doing.
func (l Log) begin(s Status, step string, now time.Time) Log {
	e := Entry{Step: step, Status: s, StartedAt: now}
	if s == StepDoing {
		e.Try = 1
	}
	if s == StepUndoing && l.last().Status == StepDoing {
		l = l[:len(l)-1]
	}
	return append(slices.Clone(l), e)
}

// end settles the open entry.
func (l Log) end(s Status, now time.Time) Log {
	l = slices.Clone(l)
	e := &l[len(l)-1]
	e.Status, e.Error, e.Reason, e.RetryAt, e.EndedAt = s, "", "", time.Time{}, now
	return l
}

// retry writes into the open entry when it is tried again.
func (l Log) retry(at time.Time) Log {
	l = slices.Clone(l)
	l[len(l)-1].RetryAt = at
	return l
}

// blame writes into the open or last entry what went wrong.
func (l Log) blame(message, reason string, try int) Log {
	l = slices.Clone(l)
	e := &l[len(l)-1]
	e.Error, e.Reason, e.Try = message, reason, try
	return l
}
