package fsm

import (
	"fmt"
	"slices"
	"time"

	"leasehold/vm"
)

// Subject is all that the rules look at in an instance.
type Subject struct {
	State     vm.State
	TaskState vm.TaskState
	Task      vm.TaskID // the reservation; a subject with either is busy
	Rescued   bool      // the record keeps a rescue: a state entered from rescued returns to it
	Fault     *vm.Fault // while State is error
	Down      *Down     // nil while its host is up, or it has none
}

// Down is a host that does not answer.
type Down struct {
	Host  vm.HostName
	Since time.Time
}

// Of takes from a record what the rules look at. Whether its host is down is for the caller to add.
func Of(in vm.Instance) Subject {
	return Subject{State: in.State, TaskState: in.TaskState, Task: in.Task, Rescued: in.Rescue != nil, Fault: in.Error}
}

func (s Subject) busy() bool { return s.TaskState != vm.Idle || s.Task != "" }

// Kind is one of the three verdicts.
type Kind string

// The verdicts. Already and Denied are both refused.
const (
	Allowed Kind = "allowed"
	Already Kind = "already"
	Denied  Kind = "denied"
)

// Verdict is the answer of the rules to one verb.
type Verdict struct {
	Kind    Kind
	Row     Row       // when allowed
	To      vm.State  // when allowed: the vm_state after success
	Joins   bool      // when allowed: the running task does this already and is the answer, a delete during a delete
	Reason  vm.Reason // when refused
	Why     string
	Allowed []vm.Verb // when refused: what is legal now

	subject Subject
	verb    vm.Verb
	mode    Mode
}

// Decide gives the verdict on a verb. Mode is Auto unless the request named one; the mode that was chosen is Row.Mode.
// Checks go from what the user can wait for to what he can change: task, state, error, host, mode.
func Decide(s Subject, on vm.Verb, mode Mode) Verdict {
	v := decide(s, on, mode)
	v.subject, v.verb, v.mode = s, on, mode
	if v.Kind != Allowed {
		v.Allowed = Legal(s)
	}
	return v
}

// Legal lists the verbs that are legal now in at least one mode, in the order of vm.Verbs.
func Legal(s Subject) []vm.Verb {
	return slices.DeleteFunc(vm.Verbs(), func(on vm.Verb) bool { return decide(s, on, Auto).Kind != Allowed })
}

func decide(s Subject, on vm.Verb, mode Mode) Verdict {
	rows := rowsOf(s.State, on)
	// What puts an instance right is legal for who asks for that by its mode, and hides nothing from anybody else.
	rows = keep(rows, func(r Row) bool { return (r.Mode == Correction) == (mode == Correction) })
	if s.busy() {
		if on == vm.Delete && s.TaskState == vm.Deleting {
			return Verdict{Kind: Allowed, To: vm.Deleted, Joins: true, Why: "it is being deleted"}
		}
		if s.State == vm.Deleted && on != vm.Delete { // a delete that waits for a host has it; for people it is gone
			return deny(vm.ReasonStateForbids, refused(s.State, on).Why)
		}
		if rows = keep(rows, func(r Row) bool { return r.Preempts }); len(rows) == 0 {
			return deny(vm.ReasonTaskInProgress, "one task at a time works on an instance")
		}
	}
	if s.Rescued && on == vm.Rescue && slices.Contains(entered, s.State) {
		return Verdict{Kind: Already, Reason: vm.ReasonStateForbids, Why: "it keeps a rescue"}
	}
	if rows = keep(rows, func(r Row) bool { return !r.ByFault || s.repairs(on) }); len(rows) == 0 {
		no := refused(s.State, on)
		if no.Already {
			return Verdict{Kind: Already, Reason: vm.ReasonStateForbids, Why: no.Why}
		}
		return deny(vm.ReasonStateForbids, no.Why)
	}
	here := keep(rows, func(r Row) bool { return r.Host == HostAny || (r.Host == HostDead) == (s.Down != nil) })
	if len(here) == 0 {
		return deny(vm.ReasonHostDown, "only the host's agent can do it")
	}
	ways := keep(here, func(r Row) bool { return mode == Auto || r.Mode == Auto || r.Mode == mode })
	if len(ways) == 0 && s.Down != nil {
		return deny(vm.ReasonHostDown, "only the host's agent can do it; the mode can only be "+list(modes(here), "or"))
	}
	if len(ways) == 0 {
		return deny(vm.ReasonStateForbids, "the mode can only be "+list(modes(here), "or"))
	}
	return Verdict{Kind: Allowed, Row: ways[0], To: ways[0].After(s.Rescued), Why: ways[0].Why}
}

func deny(reason vm.Reason, why string) Verdict {
	return Verdict{Kind: Denied, Reason: reason, Why: why}
}

// repairs says whether the subject's error allows the verb.
func (s Subject) repairs(on vm.Verb) bool {
	return s.Fault != nil && slices.Contains(s.Fault.Allowed, on)
}

// AfterSuccess is the vm_state that a finished task leaves. s is the instance while the task still holds it, so its
// State is the one from before the task. An error means that the task should never have been admitted.
func AfterSuccess(s Subject, on vm.Verb) (vm.State, error) {
	from := s.State
	if on == vm.Create && from == vm.Building {
		from = None
	}
	rows := rowsOf(from, on)
	if len(rows) == 0 {
		return "", fmt.Errorf("internal error: cannot finish %s of an instance that was %s: no such action", on, s.State)
	}
	return rows[0].After(s.Rescued), nil
}

func rowsOf(from vm.State, on vm.Verb) []Row {
	is := func(r Row) bool { return r.From == from && r.On == on }
	return append(keep(actions, is), keep(corrections, is)...)
}

func keep(rows []Row, ok func(Row) bool) []Row {
	var kept []Row
	for _, r := range rows {
		if ok(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

func modes(rows []Row) []Mode {
	var all []Mode
	for _, r := range rows {
		all = append(all, r.Mode)
	}
	return all
}
