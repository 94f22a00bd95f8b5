package output

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

type task = conductorv1.Task

var taskColumns = []column[*task]{
	{"id", always, func(_ view, t *task) string { return t.GetId() }},
	{"kind", always, func(_ view, t *task) string { return t.GetKind() }},
	{"instance", always, func(v view, t *task) string { return v.id(t.GetInstance()) }},
	{"status", always, func(_ view, t *task) string { return t.GetStatus() }},
	{"step", always, func(_ view, t *task) string { return stepName(t) }},
	{"conductor", always, func(_ view, t *task) string { return t.GetConductor() }},
	{"progress", wide, func(_ view, t *task) string { return progress(t.GetProgress()) }},
	{"hosts", wide, func(_ view, t *task) string { return words(t.GetHosts()) }},
	{"attempts", wide, func(_ view, t *task) string { return number(int64(len(t.GetAttempts()))) }},
	{"took", always, func(v view, t *task) string { return took(v, t.GetCreatedAt(), t.GetEndedAt()) }},
	{"age", listOnly, func(v view, t *task) string { return v.age(t.GetCreatedAt()) }},
	{"waiting", details, func(v view, t *task) string { return waiting(v, t.GetWaiting()) }},
	{"error", details, func(v view, t *task) string { return fault(v, t.GetError()) }},
	{"cancels", details, func(_ view, t *task) string { return t.GetCancels() }},
	{"project", details, func(_ view, t *task) string { return t.GetProject() }},
	{"resources", details, func(_ view, t *task) string { return resources(t.GetResources()) }},
	{"created", details, func(v view, t *task) string { return v.age(t.GetCreatedAt()) }},
	{"updated", details, func(v view, t *task) string { return v.age(t.GetUpdatedAt()) }},
	{"ended", details, func(v view, t *task) string { return v.age(t.GetEndedAt()) }},
	{"revision", details, func(_ view, t *task) string { return number(t.GetRevision()) }},
}

// Tasks prints a list of tasks.
func (p Printer) Tasks(r *conductorv1.ListTasksResponse) error {
	return list(p, r, r.GetTasks(), taskColumns)
}

// Task prints one task, and what happened to it in the order in which it did.
func (p Printer) Task(t *task) error {
	if err := show(p, t, taskColumns); err != nil || p.Format.Structured() {
		return err
	}
	return p.timeline(t)
}

func (p Printer) section(title string, rows [][]string) error {
	if err := p.write("\n" + title + ":\n"); err != nil {
		return err
	}
	return p.aligned(rows)
}

// TaskChange prints a task that is being watched: a line, or one document of several.
func (p Printer) TaskChange(t *task) error {
	if p.Format.Structured() {
		return p.next(t)
	}
	return p.write(TaskLine(t, p.Now()) + "\n")
}

// TaskLine is where a task is, in one line: kind, status or step, host, progress, and how long it has been at it.
func TaskLine(t *task, now time.Time) string {
	v := view{now: now}
	parts := []string{t.GetKind() + " " + v.id(t.GetInstance())}
	s := running(t)
	switch {
	case vm.TaskStatus(t.GetStatus()).Terminal():
		parts = append(parts, t.GetStatus())
		if message := t.GetError().GetMessage(); message != "" {
			parts = append(parts, message)
		}
	case t.GetWaiting() != nil:
		parts = append(parts, "waiting: "+t.GetWaiting().GetMessage())
	case s != nil:
		parts = append(parts, strings.TrimSuffix(stepName(t)+" on "+s.GetHost(), " on "))
		if text := progress(t.GetProgress()); text != "" {
			parts = append(parts, text)
		}
	default:
		parts = append(parts, t.GetStatus())
	}
	parts = append(parts, took(v, t.GetCreatedAt(), t.GetEndedAt()))
	return plain(strings.Join(parts, "  "))
}

// running is the step that was begun and not ended; nil between steps.
func running(t *task) *conductorv1.Step {
	steps := t.GetSteps()
	if len(steps) == 0 {
		return nil
	}
	last := steps[len(steps)-1]
	switch vm.StepStatus(last.GetStatus()) {
	case vm.StepDoing, vm.StepUndoing:
		return last
	default:
		return nil
	}
}

func stepName(t *task) string {
	s := running(t)
	switch {
	case s == nil:
		return ""
	case vm.StepStatus(s.GetStatus()) == vm.StepUndoing:
		return "undoing " + s.GetName()
	default:
		return s.GetName()
	}
}

// progress is "image 42% (12.0 MiB of 30.0 MiB)", or as much of it as is known.
func progress(p *conductorv1.Progress) string {
	if p == nil {
		return ""
	}
	amount := func(n int64) string {
		switch p.GetUnit() {
		case "bytes", "B":
			return Bytes(n)
		case "":
			return number(n)
		default:
			return number(n) + " " + p.GetUnit()
		}
	}
	parts := []string{p.GetPhase()}
	switch {
	case p.GetTotal() > 0:
		percent := min(100*float64(p.GetDone())/float64(p.GetTotal()), 100)
		parts = append(parts, fmt.Sprintf("%.0f%% (%s of %s)", percent, amount(p.GetDone()), amount(p.GetTotal())))
	case p.GetDone() > 0:
		parts = append(parts, amount(p.GetDone()))
	}
	if p.GetNote() != "" {
		parts = append(parts, p.GetNote())
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// took is from begin to end, or to now while it has none.
func took(v view, begin, end *timestamppb.Timestamp) string {
	switch {
	case begin == nil:
		return ""
	case end == nil:
		return Duration(v.now.Sub(begin.AsTime()))
	default:
		return Duration(end.AsTime().Sub(begin.AsTime()))
	}
}

func waiting(v view, w *conductorv1.Wait) string {
	if w == nil {
		return ""
	}
	parts := []string{w.GetReason() + ": " + w.GetMessage()}
	if on := w.GetOn(); on != nil {
		parts = append(parts, "on "+on.GetKind()+"/"+on.GetId())
	}
	if w.GetHolder() != "" {
		parts = append(parts, "held by "+w.GetHolder())
	}
	if w.GetSince() != nil {
		parts = append(parts, "since "+v.age(w.GetSince()))
	}
	if w.GetRetryAt() != nil {
		parts = append(parts, "tried again at "+moment(w.GetRetryAt().AsTime()))
	}
	return strings.Join(parts, "; ")
}

func resources(all []*conductorv1.ResourceName) string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.GetKind() + "/" + r.GetId()
	}
	return words(names)
}
