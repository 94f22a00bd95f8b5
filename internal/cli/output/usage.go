package output

import (
	"time"

	conductorv1 "leasehold/api/conductor/v1"
)

// vcpu is one processor of a machine and its number, from 0 as guests count them.
type vcpu struct {
	number int
	usage  *conductorv1.VCPU
}

var usageColumns = []column[vcpu]{
	{"vcpu", always, func(_ view, c vcpu) string { return number(int64(c.number)) }},
	{"run", always, func(_ view, c vcpu) string { return spent(c.usage.GetRun().AsDuration()) }},
	{"wait", always, func(_ view, c vcpu) string { return spent(c.usage.GetWait().AsDuration()) }},
}

// spent is to the millisecond: what is counted here is compared, not waited for.
func spent(d time.Duration) string { return d.Round(time.Millisecond).String() }

// Usage prints how long each vCPU has run, and has waited for a processor.
func (p Printer) Usage(u *conductorv1.Usage) error {
	if len(u.GetVcpus()) == 0 && !p.Format.Structured() {
		return p.write("nothing of it executes on host " + plain(u.GetHost()) + "\n")
	}
	all := make([]vcpu, len(u.GetVcpus()))
	for i, usage := range u.GetVcpus() {
		all[i] = vcpu{i, usage}
	}
	return list(p, u, all, usageColumns)
}
