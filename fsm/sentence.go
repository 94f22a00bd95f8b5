package fsm

import (
	"fmt"
	"strings"
	"time"

	"leasehold/vm"
)

// Refusal makes the answer to the user (P8): what, which instance, why not, and what is legal now. name is what the user
// called the instance. It is nil when the verdict is Allowed. The caller adds who holds the task and since when.
func (v Verdict) Refusal(name string) *vm.Refusal {
	if v.Kind == Allowed {
		return nil
	}
	r := vm.Refuse(v.Reason, "cannot %s instance %s %s: %s; %s", v.action(), name, v.condition(), v.Why, v.legal())
	r.Task, r.Allowed, r.Already = v.subject.Task, v.Allowed, v.Kind == Already
	if v.Reason == vm.ReasonHostDown {
		r.Host, r.Since = v.subject.Down.Host, v.subject.Down.Since
	}
	return r
}

// action is the verb as a person would say it: "attach volume to", "move live".
func (v Verdict) action() string {
	what := strings.ReplaceAll(string(v.verb), "_", " ")
	switch v.verb {
	case vm.AttachVolume, vm.AttachPort:
		return what + " to"
	case vm.DetachVolume, vm.DetachPort:
		return what + " from"
	case vm.SetPassword:
		return what + " of"
	case vm.Move, vm.Reboot:
		if v.mode != Auto {
			return fmt.Sprintf("%s (%s)", what, v.mode)
		}
	default:
	}
	return what
}

// condition is what stands in the way.
func (v Verdict) condition() string {
	s := v.subject
	switch {
	case v.Reason == vm.ReasonHostDown:
		return s.Down.condition()
	case v.Reason == vm.ReasonTaskInProgress:
		return s.work()
	case v.Kind == Already:
		return "again"
	case s.State == None:
		return "before it exists"
	case s.State == vm.Error:
		return "while in error"
	}
	return "while " + string(s.State)
}

// work is what the running task does with the subject, as far as it is known.
func (s Subject) work() string {
	switch {
	case s.Task == "":
		return "while " + string(s.TaskState)
	case s.TaskState == vm.Idle:
		return fmt.Sprintf("while task %s holds it", s.Task)
	}
	return fmt.Sprintf("while %s (task %s)", s.TaskState, s.Task)
}

func (d Down) condition() string {
	if d.Since.IsZero() {
		return fmt.Sprintf("while its host %s is down", d.Host)
	}
	return fmt.Sprintf("while its host %s is down since %s", d.Host, d.Since.UTC().Format(time.RFC3339))
}

func (v Verdict) legal() string {
	var tail string
	if v.Reason == vm.ReasonTaskInProgress && v.subject.TaskState != vm.Deleting {
		tail = ", and to cancel the task"
	}
	switch len(v.Allowed) {
	case 0:
		return "nothing else is legal either"
	case 1:
		return "legal now is " + string(v.Allowed[0]) + tail
	}
	return "legal now are " + list(v.Allowed, "and") + tail
}

// list joins words as a sentence does: a, b and c.
func list[T ~string](words []T, last string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	if n := len(all) - 1; n > 0 {
		return strings.Join(all[:n], ", ") + " " + last + " " + all[n]
	}
	return strings.Join(all, "")
}
