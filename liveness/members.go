package liveness

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"leasehold/coord"
	"leasehold/vm"
)

// Members is who lives as the cache has it, a little late.
type Members struct{ Cache *coord.Cache }

const (
	conductorRest = "conductor/"
	computeRest   = "compute/"
)

// Conductors lists those that have a session, by name, draining ones included.
func (m Members) Conductors() []vm.AliveConductor { return alive[vm.AliveConductor](m, conductorRest) }

// Computes lists the hosts that have a lease, by name.
func (m Members) Computes() []vm.AliveCompute { return alive[vm.AliveCompute](m, computeRest) }

func alive[T any](m Members, kind string) []T {
	var out []T
	for _, e := range m.Cache.Entries(coord.Alive) {
		if _, rest, _ := m.Cache.Keys().Split(e.Key); !strings.HasPrefix(rest, kind) {
			continue
		}
		if r, err := coord.Decoded[T](e); err == nil {
			out = append(out, *r)
		}
	}
	return out
}

// Compute is a host's alive record and the lease it hangs on. ok is false for a host that is down.
func (m Members) Compute(host vm.HostName) (c vm.AliveCompute, lease int64, ok bool) {
	r, e, ok := coord.Load[vm.AliveCompute](m.Cache, m.Cache.Keys().AliveCompute(host))
	if !ok {
		return vm.AliveCompute{}, 0, false
	}
	return *r, e.Lease, true
}

// Conductor is a conductor's alive record and the lease it hangs on. ok is false for one without a session.
func (m Members) Conductor(name vm.ConductorName) (c vm.AliveConductor, lease int64, ok bool) {
	r, e, ok := coord.Load[vm.AliveConductor](m.Cache, m.Cache.Keys().AliveConductor(name))
	if !ok {
		return vm.AliveConductor{}, 0, false
	}
	return *r, e.Lease, true
}

// Rank is self's place, 0 the first, among the live conductors that do not drain, in an order of their own for each key.
// All conductors with the same view agree on it; who comes or goes moves only itself. One that is not among them stands
// behind them all. It spares races, nothing more: a claim is compared.
// Who ranks many keys at once takes Serving once and calls Rank for each.
func (m Members) Rank(key string, self vm.ConductorName) int { return Rank(key, self, m.Serving()) }

// Serving lists the live conductors that do not drain, by name: those that take work.
func (m Members) Serving() []vm.ConductorName {
	var live []vm.ConductorName
	for _, c := range m.Conductors() {
		if !c.Draining {
			live = append(live, c.Name)
		}
	}
	return live
}

// Rank is the rendezvous hash: the place of self among live for key, or len(live) when it is not among them.
func Rank(key string, self vm.ConductorName, live []vm.ConductorName) int {
	own, before, member := weight(key, self), 0, false
	for _, c := range live {
		w := weight(key, c)
		switch {
		case c == self:
			member = true
		case w > own || w == own && c < self:
			before++
		}
	}
	if !member {
		return len(live)
	}
	return before
}

// weight is the same in every process, for ever: a version that ranks differently would race with this one.
func weight(key string, c vm.ConductorName) uint64 {
	sum := sha256.Sum256([]byte(key + "\x00" + string(c)))
	return binary.BigEndian.Uint64(sum[:8])
}
