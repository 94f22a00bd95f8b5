package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"leasehold/vm"
)

// Request is what is to be placed.
type Request struct {
	Instance vm.InstanceID
	Size     vm.Size
	Host     vm.HostName            // the only host the user wants; empty for any
	Exclude  map[vm.HostName]string // hosts that failed this task before, and why
}

// Candidate is a host with what is promised on it, read together.
type Candidate struct {
	Host        vm.Host
	Alive       bool      // its alive key is there
	DownSince   time.Time // zero when unknown or alive
	Allocations vm.Allocations
}

// free is what a request may take: what the instance itself holds already counts as free, so that a placement that is
// repeated after a crash finds its own reservation no obstacle.
func (c Candidate) free(id vm.InstanceID) vm.Size {
	return c.Host.Capacity.Minus(c.Allocations.Sum).Plus(c.Allocations.Instances[id])
}

// Decision is the chosen host.
type Decision struct {
	Host  vm.HostName
	Share float64 // the scarcest of its memory, vCPUs and disk that stays free, 0 to 1
	Fit   int     // how many hosts passed the filters
	Near  int     // how many of them were as good: within near of the best
}

// near is how much worse than the best host another may be to count as equal. 1/20 of a host is less than anyone notices
// and more than conductors that place at the same time differ in what they see.
const near = 0.05

// Place chooses a host, or returns a *NoHostError.
//
// It spreads: the best host keeps the most of its scarcest part free. Among hosts as good as the best the one with the
// highest rendezvous hash of (instance, host) is taken, not the first by name: conductors that place different instances
// at the same moment all see the same best host, would all compare the revision of its allocations, and all but one
// would lose. The hash sends each instance its own way, and the same instance the same way again after a takeover.
func Place(req Request, candidates []Candidate) (Decision, error) {
	var fit []Decision
	best := -1.0
	for _, c := range candidates {
		if stopped(req, c) == nil {
			d := Decision{Host: c.Host.Name, Share: share(req, c)}
			fit, best = append(fit, d), max(best, d.Share)
		}
	}
	if len(fit) == 0 {
		return Decision{}, &NoHostError{Request: req, Reasons: Explain(req, candidates)}
	}
	hosts := len(fit)
	fit = slices.DeleteFunc(fit, func(d Decision) bool { return d.Share < best-near })
	won := slices.MaxFunc(fit, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(rank(req.Instance, a.Host), rank(req.Instance, b.Host)), cmp.Compare(a.Host, b.Host))
	})
	won.Fit, won.Near = hosts, len(fit)
	return won, nil
}

// share is min((free - size) / capacity) over the parts that the host has at all.
func share(req Request, c Candidate) float64 {
	left, of := c.free(req.Instance).Minus(req.Size), c.Host.Capacity
	least := 1.0
	for _, part := range [][2]int64{
		{int64(left.MemoryMiB), int64(of.MemoryMiB)},
		{int64(left.VCPUs), int64(of.VCPUs)},
		{int64(left.DiskGiB), int64(of.DiskGiB)},
	} {
		if part[1] > 0 {
			least = min(least, float64(part[0])/float64(part[1]))
		}
	}
	return least
}

// rank is the rendezvous hash: as good as random, and the same everywhere.
func rank(id vm.InstanceID, host vm.HostName) uint64 {
	sum := sha256.Sum256([]byte(string(id) + "\x00" + string(host)))
	return binary.BigEndian.Uint64(sum[:])
}
