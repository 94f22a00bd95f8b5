package output

import (
	"strconv"
	"strings"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
)

type instance = conductorv1.Instance

var instanceColumns = []column[*instance]{
	{"id", always, func(_ view, i *instance) string { return i.GetId() }},
	{"name", always, func(_ view, i *instance) string { return i.GetName() }},
	{"state", always, func(_ view, i *instance) string { return i.GetVmState() }},
	{"doing", always, func(_ view, i *instance) string { return i.GetTaskState() }},
	{"power", always, func(_ view, i *instance) string { return i.GetPowerState() }},
	{"host", always, placed},
	{"flavor", wide, func(_ view, i *instance) string { return i.GetFlavor() }},
	{"size", wide, func(_ view, i *instance) string { return size(i.GetSize()) }},
	{"image", wide, func(_ view, i *instance) string { return i.GetImage() }},
	{"on host boot", details, func(_ view, i *instance) string { return i.GetOnHostBoot() }},
	{"host down since", details, func(v view, i *instance) string { return v.age(i.GetHostDownSince()) }},
	{"rescued with", details, func(_ view, i *instance) string { return i.GetRescue().GetImage() }},
	{"remains on", details, func(_ view, i *instance) string { return words(i.GetRemains()) }},
	{"availability", wide, func(_ view, i *instance) string { return i.GetAvailability() }},
	{"task", wide, func(v view, i *instance) string { return v.id(i.GetTask()) }},
	{"age", listOnly, func(v view, i *instance) string { return v.age(i.GetCreatedAt()) }},
	{"error", details, func(v view, i *instance) string { return fault(v, i.GetError()) }},
	{"project", details, func(_ view, i *instance) string { return i.GetProject() }},
	{"metadata", details, func(_ view, i *instance) string { return pairs(i.GetMetadata()) }},
	{"volumes", details, func(_ view, i *instance) string { return words(i.GetVolumes()) }},
	{"ports", details, func(_ view, i *instance) string { return words(i.GetPorts()) }},
	{"footprint", details, func(_ view, i *instance) string { return words(i.GetFootprint()) }},
	{"delete protection", details, func(_ view, i *instance) string { return yes(i.GetDeleteProtection()) }},
	{"in state since", details, func(v view, i *instance) string { return v.age(i.GetSince()) }},
	{"power seen", details, func(v view, i *instance) string { return v.age(i.GetObservedAt()) }},
	{"power detail", details, func(_ view, i *instance) string { return i.GetPowerDetail() }},
	{"created", details, func(v view, i *instance) string { return v.age(i.GetCreatedAt()) }},
	{"updated", details, func(v view, i *instance) string { return v.age(i.GetUpdatedAt()) }},
	{"revision", details, func(_ view, i *instance) string { return number(i.GetRevision()) }},
}

// placed is the host; that it is down is too important for a column of its own.
func placed(_ view, i *instance) string {
	if i.GetHostStatus() == "down" {
		return i.GetHost() + " (down)"
	}
	return i.GetHost()
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

var orderColumns = []column[*conductorv1.InstanceTask]{
	{"instance", always, func(_ view, o *conductorv1.InstanceTask) string { return o.GetTask().GetInstance() }},
	{"name", always, func(_ view, o *conductorv1.InstanceTask) string { return o.GetInstance().GetName() }},
	{"state", always, func(_ view, o *conductorv1.InstanceTask) string { return o.GetInstance().GetVmState() }},
	{"host", wide, func(v view, o *conductorv1.InstanceTask) string { return placed(v, o.GetInstance()) }},
	{"task", always, func(_ view, o *conductorv1.InstanceTask) string { return o.GetTask().GetId() }},
	{"kind", always, func(_ view, o *conductorv1.InstanceTask) string { return o.GetTask().GetKind() }},
	{"status", always, func(_ view, o *conductorv1.InstanceTask) string { return o.GetTask().GetStatus() }},
}

// Order prints what became a task.
func (p Printer) Order(o *conductorv1.InstanceTask) error {
	return list(p, o, []*conductorv1.InstanceTask{o}, orderColumns)
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
	{"why not", always, func(_ view, a *conductorv1.Action) string { return a.GetMessage() }},
}

// Actions prints what is legal now, and why the rest is not.
func (p Printer) Actions(r *conductorv1.ListActionsResponse) error {
	return list(p, r, r.GetActions(), actionColumns)
}

// Usage prints what each vCPU has run and waited.
func (p Printer) Usage(u *conductorv1.Usage) error {
	rows := make([]vcpu, len(u.GetVcpus()))
	for i, v := range u.GetVcpus() {
		rows[i] = vcpu{i, v}
	}
	return list(p, u, rows, usageColumns)
}

type vcpu struct {
	n int
	*conductorv1.VCPU
}

var usageColumns = []column[vcpu]{
	{"vcpu", always, func(_ view, u vcpu) string { return strconv.Itoa(u.n) }},
	{"run", always, func(_ view, u vcpu) string { return u.GetRun().AsDuration().Round(time.Millisecond).String() }},
	{"wait", always, func(_ view, u vcpu) string { return u.GetWait().AsDuration().Round(time.Millisecond).String() }},
}

// Explanation prints the facts as sentences; wide adds the numbers behind them.
func (p Printer) Explanation(e *conductorv1.Explanation) error {
	if p.Format.Structured() {
		return p.message(e)
	}
	if err := p.write(plain(e.GetSummary()) + "\n"); err != nil {
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
