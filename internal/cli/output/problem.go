package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"leasehold/vm"
)

// Problem is an error for whoever reads it (P8): what, why, and what to do next.
type Problem struct {
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	ExitCode int               `json:"exit_code"`
	Task     string            `json:"task,omitempty"`
	Holder   string            `json:"holder,omitempty"`
	Since    *time.Time        `json:"since,omitempty"`
	RetryAt  *time.Time        `json:"retry_at,omitempty"`
	Host     string            `json:"host,omitempty"`
	Allowed  []string          `json:"allowed,omitempty"`
	Already  bool              `json:"already,omitempty"`
	Facts    map[string]string `json:"facts,omitempty"`
	Hint     string            `json:"hint,omitempty"` // what to type next
}

// ProblemOf collects what err says. hint may be empty.
func ProblemOf(err error, reason string, exitCode int, hint string) Problem {
	p := Problem{Reason: reason, Message: err.Error(), ExitCode: exitCode, Hint: hint}
	var r *vm.Refusal
	if !errors.As(err, &r) {
		return p
	}
	p.Task, p.Holder, p.Host, p.Already, p.Facts = string(r.Task), r.Holder, string(r.Host), r.Already, r.Facts
	p.Since, p.RetryAt = known(r.Since), known(r.RetryAt)
	for _, verb := range r.Allowed {
		p.Allowed = append(p.Allowed, string(verb))
	}
	return p
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Print writes the problem as JSON, or as sentences: the message, then a line for each fact.
func (p Problem) Print(w io.Writer, format Format, now time.Time) {
	if format == JSON {
		text, err := json.Marshal(struct {
			Error Problem `json:"error"`
		}{p})
		if err == nil { // strings and times always marshal
			fmt.Fprintln(w, string(text))
		}
		return
	}
	fmt.Fprintln(w, "error: "+plain(p.Message))
	for _, line := range p.lines(now) {
		fmt.Fprintln(w, "  "+plain(line))
	}
}

func (p Problem) lines(now time.Time) []string {
	var lines []string
	say := func(there bool, format string, args ...any) {
		if there {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	say(p.Task != "", "task: %s (see it with: vmctl task show %s)", p.Task, p.Task)
	say(p.Holder != "", "held by: %s", p.Holder)
	if p.Since != nil {
		say(true, "since: %s (%s ago)", moment(*p.Since), Duration(now.Sub(*p.Since)))
	}
	say(p.Host != "", "host: %s", p.Host)
	if p.RetryAt != nil {
		say(true, "tried again: %s (in %s)", moment(*p.RetryAt), Duration(p.RetryAt.Sub(now)))
	}
	say(p.Already, "it is already so")
	say(len(p.Allowed) > 0, "legal now: %s", strings.Join(p.Allowed, ", "))
	for _, name := range slices.Sorted(maps.Keys(p.Facts)) {
		say(true, "%s: %s", name, p.Facts[name])
	}
	say(p.Hint != "", "%s", p.Hint)
	return lines
}
