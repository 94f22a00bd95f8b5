package output

import (
	"slices"
	"strings"

	conductorv1 "leasehold/api/conductor/v1"
)

type instance = conductorv1.Instance

var instanceColumns = []column[*instance]{
	{"id", always, func(_ view, i *instance) string { return i.GetId() }},
	{"name", always, func(_ view, i *instance) string { return i.GetName() }},
	{"state", always, func(_ view, i *instance) string { return i.GetVmState() }},
	{"doing", always, func(_ view, i *instance) string { return i.GetTaskState() }},
	{"power", always, power},
	{"host", always, placed},
	{"flavor", wide, func(_ view, i *instance) string { return i.GetFlavor() }},
	{"size", wide, func(_ view, i *instance) string { return size(i.GetSize()) }},
	{"image", wide, func(_ view, i *instance) string { return i.GetImage() }},
	{"rescue", details, rescue},
	{"availability", wide, func(_ view, i *instance) string { return i.GetAvailability() }},
	{"on host boot", wide, func(_ view, i *instance) string { return i.GetOnHostBoot() }},
	{"task", wide, func(v view, i *instance) string { return v.id(i.GetTask()) }},
	{"age", listOnly, func(v view, i *instance) string { return v.age(i.GetCreatedAt()) }},
	{"error", details, func(v view, i *instance) string { return fault(v, i.GetError()) }},
	{"project", details, func(_ view, i *instance) string { return i.GetProject() }},
	{"metadata", details, func(_ view, i *instance) string { return pairs(i.GetMetadata()) }},
	{"volumes", details, func(_ view, i *instance) string { return words(i.GetVolumes()) }},
	{"ports", details, func(_ view, i *instance) string { return words(i.GetPorts()) }},
	{"footprint", details, func(_ view, i *instance) string { return words(i.GetFootprint()) }},
	{"remains on", details, func(_ view, i *instance) string { return words(i.GetRemains()) }},
	{"delete protection", details, func(_ view, i *instance) string { return yes(i.GetDeleteProtection()) }},
	{"in state since", details, func(v view, i *instance) string { return v.age(i.GetSince()) }},
	{"power seen", details, func(v view, i *instance) string { return v.age(i.GetObservedAt()) }},
	{"created", details, func(v view, i *instance) string { return v.age(i.GetCreatedAt()) }},
	{"updated", details, func(v view, i *instance) string { return v.age(i.GetUpdatedAt()) }},
	{"revision", details, func(_ view, i *instance) string { return number(i.GetRevision()) }},
}

// power is what the hypervisor was last seen doing; its own word for that only where there is room.
func power(v view, i *instance) string {
	if detail := i.GetPowerDetail(); v.full && detail != "" && detail != i.GetPowerState() {
		return i.GetPowerState() + " (" + detail + ")"
	}
	return i.GetPowerState()
}

// placed is the host, or those that still hold something of a deleted instance. That one is down is too important for a
// column of its own.
func placed(v view, i *instance) string {
	host := i.GetHost()
	if host == "" {
		host = words(i.GetRemains())
	}
	since := i.GetHostDownSince()
	switch {
	case i.GetHostStatus() != "down":
		return host
	case since == nil || !v.full:
		return host + " (down)"
	case v.dated:
		return host + " (down since " + v.age(since) + ")"
	default:
		return host + " (down for " + v.age(since) + ")"
	}
}

func rescue(v view, i *instance) string {
	r := i.GetRescue()
	if r == nil {
		return ""
	}
	return "from image " + r.GetImage() + " since " + v.age(r.GetSince())
}

// fault is a failure in one line: the reason, its sentence, and what repairs it.
func fault(v view, f *conductorv1.Fault) string {
	if f == nil {
		return ""
	}
	parts := []string{f.GetReason() + ": " + f.GetMessage()}
	if task := f.GetTask(); task != "" {
		parts = append(parts, "task "+v.id(task))
	}
	if f.GetSince() != nil {
		parts = append(parts, "since "+v.age(f.GetSince()))
	}
	if len(f.GetAllowed()) > 0 {
		parts = append(parts, "repaired by "+words(f.GetAllowed()))
	}
	return strings.Join(parts, "; ")
}

// Instances prints a list of instances.
func (p Printer) Instances(r *conductorv1.ListInstancesResponse) error {
	return list(p, r, r.GetInstances(), instanceColumns)
}

// Instance prints one instance.
func (p Printer) Instance(i *instance) error { return show(p, i, instanceColumns) }

type order = conductorv1.InstanceTask

var orderColumns = []column[*order]{
	{"instance", always, func(_ view, o *order) string { return o.GetTask().GetInstance() }},
	{"name", always, func(_ view, o *order) string { return o.GetInstance().GetName() }},
	{"state", always, func(_ view, o *order) string { return o.GetInstance().GetVmState() }},
	{"host", wide, func(v view, o *order) string { return placed(v, o.GetInstance()) }},
	{"task", always, func(_ view, o *order) string { return o.GetTask().GetId() }},
	{"kind", always, func(_ view, o *order) string { return o.GetTask().GetKind() }},
	{"status", always, func(_ view, o *order) string { return o.GetTask().GetStatus() }},
}

// savingColumns are those of an order that makes an image.
var savingColumns = append(slices.Clone(orderColumns),
	column[*order]{"image", always, func(_ view, o *order) string {
		return o.GetImage().GetName() + " (" + o.GetImage().GetStatus() + ")"
	}},
	column[*order]{"image id", wide, func(_ view, o *order) string { return o.GetImage().GetId() }})

// Order prints what became a task.
func (p Printer) Order(o *order) error {
	columns := orderColumns
	if o.GetImage() != nil {
		columns = savingColumns
	}
	return list(p, o, []*order{o}, columns)
}

var actionColumns = []column[*conductorv1.Action]{
	{"action", always, func(_ view, a *conductorv1.Action) string { return a.GetAction() }},
	{"legal", always, func(_ view, a *conductorv1.Action) string {
		if a.GetLegal() {
			return "yes"
		}
		return "no"
	}},
	{"to", always, func(_ view, a *conductorv1.Action) string { return a.GetTo() }},
	{"via", wide, func(_ view, a *conductorv1.Action) string { return a.GetVia() }},
	{"reason", wide, func(_ view, a *conductorv1.Action) string { return a.GetReason() }},
	{"why", always, func(v view, a *conductorv1.Action) string { return v.sentence(a.GetMessage()) }},
}

// Actions prints what is legal now, and below it why the rest is not.
func (p Printer) Actions(r *conductorv1.ListActionsResponse) error {
	legalFirst := slices.Clone(r.GetActions())
	slices.SortStableFunc(legalFirst, func(a, b *conductorv1.Action) int {
		switch {
		case a.GetLegal() == b.GetLegal():
			return 0
		case a.GetLegal():
			return -1
		default:
			return 1
		}
	})
	return list(p, r, legalFirst, actionColumns)
}

// Explanation prints the facts as sentences; wide adds the numbers behind them.
func (p Printer) Explanation(e *conductorv1.Explanation) error {
	if p.Format.Structured() {
		return p.message(e)
	}
	if err := p.aligned([][]string{{e.GetSummary()}}); err != nil {
		return err
	}
	var rows [][]string
	for _, fact := range e.GetFacts() {
		rows = append(rows, []string{"  " + fact.GetTopic() + ":", fact.GetMessage()})
		if numbers := pairs(fact.GetValues()); p.Format == Wide && numbers != "" {
			rows = append(rows, []string{"", numbers})
		}
	}
	return p.aligned(rows)
}
