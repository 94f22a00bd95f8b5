package fsm

import (
	"fmt"
	"slices"
	"strings"

	"leasehold/vm"
)

// Dot draws the action machine for graphviz: dashed is delete, dotted is what only an error's own list allows, grey is a
// failure that could not be undone.
func Dot() string {
	var b strings.Builder
	b.WriteString("digraph actions {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n  admitted [shape=point];\n")
	for _, s := range vm.States() {
		fmt.Fprintf(&b, "  %s;\n", s)
	}
	fmt.Fprintf(&b, "  admitted -> %s [label=%q];\n", vm.Building, vm.Create)
	for _, e := range edges() {
		fmt.Fprintf(&b, "  %s -> %s [label=\"%s\"%s];\n", e.from, e.to, strings.Join(e.labels, `\n`), e.style)
	}
	for _, s := range failing() {
		fmt.Fprintf(&b, "  %s -> %s [color=grey];\n", s, vm.Error)
	}
	b.WriteString("}\n")
	return b.String()
}

// edge is all that leads from one state to another in one style.
type edge struct {
	from, to vm.State
	style    string
	labels   []string
}

func edges() []edge {
	var all []edge
	add := func(from, to vm.State, style, label string) {
		i := slices.IndexFunc(all, func(e edge) bool { return e.from == from && e.to == to && e.style == style })
		if i < 0 {
			all, i = append(all, edge{from: from, to: to, style: style}), len(all)
		}
		if !slices.Contains(all[i].labels, label) {
			all[i].labels = append(all[i].labels, label)
		}
	}
	for _, r := range actions {
		from, style := r.From, ""
		switch {
		case r.From == None:
			from = vm.Building
		case r.On == vm.Delete:
			style = ", style=dashed"
		case r.ByFault:
			style = ", style=dotted"
		}
		add(from, r.To, style, string(r.On))
		if r.Returns {
			add(from, vm.Rescued, style, string(r.On)+" (was rescued)")
		}
	}
	return all
}

// failing lists the states that a failed task may turn into error.
func failing() []vm.State {
	var from []vm.State
	for _, s := range vm.States() {
		turns := func(r Row) bool {
			rec, ok := Recover(r.Via)
			return ok && (rec.Leaves == LeavesError || rec.Leaves == LeavesUndone) &&
				(r.From == s || r.From == None && s == vm.Building)
		}
		if s != vm.Error && slices.ContainsFunc(actions, turns) {
			from = append(from, s)
		}
	}
	return from
}

// TasksDot draws the statuses of a task for graphviz.
func TasksDot() string {
	var b strings.Builder
	b.WriteString("digraph tasks {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n  admitted [shape=point];\n")
	for _, t := range transitions {
		from := string(t.From)
		if t.From == NoStatus {
			from = "admitted"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%q];\n", from, t.To, t.Why)
	}
	b.WriteString("}\n")
	return b.String()
}

// Cell is one square of the drawing of all verdicts.
type Cell struct {
	Kind    Kind
	To      vm.State // when allowed
	ByFault bool     // allowed only when the error says so
	Why     string
}

// At is the verdict on a verb in an idle state, as a drawing shows it.
func At(state vm.State, on vm.Verb) Cell {
	v := decide(Subject{State: state}, on, Auto)
	if rows := rowsOf(state, on); v.Kind == Denied && len(rows) > 0 {
		return Cell{Allowed, rows[0].To, rows[0].ByFault, rows[0].Why}
	}
	return Cell{Kind: v.Kind, To: v.To, Why: v.Why}
}

// Matrix is the table of all verdicts as text, a line for each verb: the vm_state it leads to, in brackets when only the
// error's own list allows it, "=" for what is already so, "." for what is denied.
func Matrix() string {
	var b strings.Builder
	line := func(first string, cells []string) {
		fmt.Fprintf(&b, "%-13s", first)
		for _, c := range cells {
			fmt.Fprintf(&b, " %-10s", c)
		}
		b.WriteString("\n")
	}
	var heads []string
	for _, s := range vm.States() {
		heads = append(heads, string(s))
	}
	line("", heads)
	for _, on := range vm.Verbs() {
		var cells []string
		for _, s := range vm.States() {
			cells = append(cells, At(s, on).String())
		}
		line(string(on), cells)
	}
	return trimmed(b.String())
}

// String is the cell as Matrix shows it.
func (c Cell) String() string {
	switch {
	case c.Kind == Already:
		return "="
	case c.Kind == Denied:
		return "."
	case c.ByFault:
		return "(" + string(c.To) + ")"
	}
	return string(c.To)
}

func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}
