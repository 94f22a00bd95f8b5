package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"leasehold/vm"
)

// NoHostError says that no host can take an instance. Its message counts the reasons; Reasons has them host by host.
type NoHostError struct {
	Request Request
	Reasons []Reason // one for each candidate, sorted by host
}

// Reason is capacity: the same request may succeed when hosts come back or are emptied.
func (e *NoHostError) Reason() vm.Reason { return vm.ReasonCapacity }

func (e *NoHostError) Error() string {
	if want := e.Request.Host; want != "" {
		why := "there is no such host"
		if i := slices.IndexFunc(e.Reasons, func(r Reason) bool { return r.Host == want }); i >= 0 {
			why = e.Reasons[i].Why
		}
		return fmt.Sprintf("cannot place instance %s on host %s: %s", e.Request.Instance, want, why)
	}
	if len(e.Reasons) == 0 {
		return fmt.Sprintf("cannot place instance %s: there are no hosts", e.Request.Instance)
	}
	hosts := "hosts"
	if len(e.Reasons) == 1 {
		hosts = "host"
	}
	return fmt.Sprintf("cannot place instance %s: %d %s: %s", e.Request.Instance, len(e.Reasons), hosts, summary(e.Reasons))
}

// summary counts hosts by reason, the most frequent first: "2 short of memory (need 4096 MiB, most free 512), 1 down".
func summary(reasons []Reason) string {
	type group struct {
		brief string
		hosts int
		most  *Shortage // of the hosts' first shortages the one with the most free
	}
	var groups []group
	for _, r := range reasons {
		i := slices.IndexFunc(groups, func(g group) bool { return g.brief == r.brief })
		if i < 0 {
			groups, i = append(groups, group{brief: r.brief}), len(groups)
		}
		g := &groups[i]
		g.hosts++
		if len(r.Short) > 0 && (g.most == nil || r.Short[0].Free > g.most.Free) {
			g.most = &r.Short[0]
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.hosts, a.hosts), strings.Compare(a.brief, b.brief))
	})
	var parts []string
	for _, g := range groups {
		text := fmt.Sprintf("%d %s", g.hosts, g.brief)
		if g.most != nil {
			need := strings.TrimSpace(fmt.Sprintf("%d %s", g.most.Need, g.most.Unit))
			text += fmt.Sprintf(" (need %s, most free %d)", need, g.most.Free)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
