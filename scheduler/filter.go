package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"leasehold/vm"
)

// Filter is one question that a host has to pass.
type Filter string

// The filters, in the order in which they are asked: a host has the reason of the first that stops it.
const (
	Up        Filter = "up"
	Enabled   Filter = "enabled"
	Requested Filter = "requested"
	Fresh     Filter = "fresh" // did not fail this task before
	Fits      Filter = "fits"
)

// Reason says why a host is not chosen or, with an empty Filter, that it could be.
type Reason struct {
	Host   vm.HostName
	Filter Filter
	Why    string
	Short  []Shortage // for Fits: each part of which there is too little

	brief string // the reason without its particulars, the same for all hosts that share it
}

// Shortage is a part of a host of which too little is free.
type Shortage struct {
	Part string // memory, vcpus or disk
	Unit string
	Need int64
	Free int64 // below zero when the host shrank
}

func (s Shortage) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s: need %d %s", s.Part, s.Need, s.Unit)) + fmt.Sprintf(", free %d", s.Free)
}

// filters are asked one after another. Each returns nil for a host that passes.
var filters = []func(Request, Candidate) *Reason{up, enabled, requested, fresh, fits}

func up(_ Request, c Candidate) *Reason {
	switch {
	case c.Alive:
		return nil
	case c.DownSince.IsZero():
		return &Reason{Filter: Up, Why: "down", brief: "down"}
	}
	return &Reason{Filter: Up, Why: "down since " + c.DownSince.UTC().Format(time.RFC3339), brief: "down"}
}

func enabled(_ Request, c Candidate) *Reason {
	switch c.Host.Admin {
	case vm.HostEnabled:
		return nil
	case vm.HostDisabled, vm.HostDraining, vm.HostRemoved:
		return &Reason{Filter: Enabled, Why: string(c.Host.Admin), brief: string(c.Host.Admin)}
	}
	return &Reason{Filter: Enabled, Why: fmt.Sprintf("not enabled: %q", c.Host.Admin), brief: "not enabled"}
}

func requested(req Request, c Candidate) *Reason {
	if req.Host == "" || req.Host == c.Host.Name {
		return nil
	}
	return &Reason{Filter: Requested, Why: fmt.Sprintf("not the requested host %s", req.Host), brief: "not requested"}
}

func fresh(req Request, c Candidate) *Reason {
	why, failed := req.Exclude[c.Host.Name]
	if !failed {
		return nil
	}
	return &Reason{Filter: Fresh, Why: "failed before: " + why, brief: "failed before"}
}

func fits(req Request, c Candidate) *Reason {
	short := shortages(req.Size, c.free(req.Instance))
	if len(short) == 0 {
		return nil
	}
	var why []string
	for _, s := range short {
		why = append(why, s.String())
	}
	return &Reason{Filter: Fits, Why: "short of " + strings.Join(why, "; "), Short: short, brief: "short of " + short[0].Part}
}

func shortages(need, free vm.Size) []Shortage {
	all := []Shortage{
		{"memory", "MiB", int64(need.MemoryMiB), int64(free.MemoryMiB)},
		{"vcpus", "", int64(need.VCPUs), int64(free.VCPUs)},
		{"disk", "GiB", int64(need.DiskGiB), int64(free.DiskGiB)},
	}
	return slices.DeleteFunc(all, func(s Shortage) bool { return s.Need <= s.Free })
}

// stopped is the reason of the first filter that stops the candidate, nil when none does.
func stopped(req Request, c Candidate) *Reason {
	for _, filter := range filters {
		if r := filter(req, c); r != nil {
			r.Host = c.Host.Name
			return r
		}
	}
	return nil
}

// Explain gives every host's reason, sorted by name (P8). It is computed when somebody asks.
func Explain(req Request, candidates []Candidate) []Reason {
	reasons := make([]Reason, 0, len(candidates))
	for _, c := range candidates {
		r := stopped(req, c)
		if r == nil {
			r = &Reason{Host: c.Host.Name, Why: fmt.Sprintf("fits: %.0f%% of its scarcest part stays free", 100*share(req, c))}
		}
		reasons = append(reasons, *r)
	}
	slices.SortFunc(reasons, func(a, b Reason) int { return strings.Compare(string(a.Host), string(b.Host)) })
	return reasons
}
