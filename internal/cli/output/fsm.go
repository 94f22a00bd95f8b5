package output

import (
	"strings"

	conductorv1 "leasehold/api/conductor/v1"
)

type (
	actionRow   = conductorv1.ActionRow
	recoveryRow = conductorv1.RecoveryRow
	powerRow    = conductorv1.PowerRow
	restartRow  = conductorv1.RestartRow
)

var actionRowColumns = []column[*actionRow]{
	{"from", always, func(_ view, r *actionRow) string { return r.GetFrom() }},
	{"action", always, func(_ view, r *actionRow) string { return strings.TrimSpace(r.GetAction() + " " + r.GetMode()) }},
	{"via", wide, func(_ view, r *actionRow) string { return r.GetVia() }},
	{"to", always, func(_ view, r *actionRow) string { return r.GetTo() }},
	{"host", wide, func(_ view, r *actionRow) string { return r.GetHost() }},
	{"preempts", wide, func(_ view, r *actionRow) string { return yes(r.GetPreempts()) }},
	{"if its error allows", wide, func(_ view, r *actionRow) string { return yes(r.GetByFault()) }},
	{"returns to rescued", wide, func(_ view, r *actionRow) string { return yes(r.GetReturns()) }},
	{"why", always, func(_ view, r *actionRow) string { return r.GetWhy() }},
}

var recoveryColumns = []column[*recoveryRow]{
	{"task state", always, func(_ view, r *recoveryRow) string { return r.GetTaskState() }},
	{"after a crash", always, func(_ view, r *recoveryRow) string { return r.GetPolicy() }},
	{"else", always, func(_ view, r *recoveryRow) string { return r.GetThen() }},
	{"why", always, func(_ view, r *recoveryRow) string { return r.GetWhy() }},
}

var powerColumns = []column[*powerRow]{
	{"state", always, func(_ view, r *powerRow) string { return r.GetVmState() }},
	{"seen", always, func(_ view, r *powerRow) string { return r.GetPowerState() }},
	{"does", always, func(_ view, r *powerRow) string {
		switch {
		case r.GetTo() != "":
			return r.GetDoes() + ": " + r.GetTo()
		case r.GetVerb() != "":
			return r.GetDoes() + ": " + r.GetVerb()
		default:
			return r.GetDoes()
		}
	}},
	{"repaired by", wide, func(_ view, r *powerRow) string { return words(r.GetAllowed()) }},
	{"why", always, func(_ view, r *powerRow) string { return r.GetWhy() }},
}

var restartColumns = []column[*restartRow]{
	{"an agent starts and finds", always, func(_ view, r *restartRow) string { return r.GetFinding() }},
	{"does", always, func(_ view, r *restartRow) string { return r.GetDoes() }},
	{"why", always, func(_ view, r *restartRow) string { return r.GetWhy() }},
}

// FSM prints the tables that are in f, with an empty line between two.
func (p Printer) FSM(f *conductorv1.FSM) error {
	if p.Format.Structured() {
		return p.message(f)
	}
	between := ""
	for _, rows := range [][][]string{
		grid(p, f.GetActions(), actionRowColumns), grid(p, f.GetRecovery(), recoveryColumns),
		grid(p, f.GetPower(), powerColumns), grid(p, f.GetRestart(), restartColumns),
	} {
		if len(rows) == 1 { // titles only: it was not asked for
			continue
		}
		if err := p.write(between); err != nil {
			return err
		}
		if err := p.aligned(rows); err != nil {
			return err
		}
		between = "\n"
	}
	return nil
}
