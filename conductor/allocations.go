package conductor

import (
	"slices"
	"sync"

	"leasehold/coord"
	"leasehold/vm"
)

// allocations is what is promised on each host, as far as this conductor knows: the cache, or what it wrote or was told
// since. Promises on one host are written one after another by one conductor, so that they do not refuse each other.
type allocations struct {
	cache *coord.Cache
	keys  coord.Keys

	mu    sync.Mutex
	newer map[vm.HostName]allocation
	hosts map[vm.HostName]*sync.Mutex
}

type allocation struct {
	rec vm.Allocations
	mod int64
}

func newAllocations(cache *coord.Cache, keys coord.Keys) *allocations {
	return &allocations{
		cache: cache, keys: keys, newer: map[vm.HostName]allocation{}, hosts: map[vm.HostName]*sync.Mutex{},
	}
}

// of returns the newest known allocations of a host and their mod revision, 0 when there are none yet.
func (a *allocations) of(host vm.HostName) (vm.Allocations, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rec, e, ok := coord.Load[vm.Allocations](a.cache, a.keys.Allocations(host))
	n, known := a.newer[host]
	switch {
	case known && (!ok || n.mod > e.Mod):
		return n.rec, n.mod
	case ok:
		delete(a.newer, host)
		return *rec, e.Mod
	}
	return vm.Allocations{Schema: vm.Schema, ID: host, Name: host}, 0
}

// wrote remembers what a transaction of this conductor made of them.
func (a *allocations) wrote(recs []vm.Allocations, rev int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range recs {
		a.newer[r.ID] = allocation{r, rev}
	}
}

// learn remembers what a refused transaction found.
func (a *allocations) learn(key string, kv coord.KV, found bool) {
	_, host, _ := a.keys.Split(key)
	var rec vm.Allocations
	if found && kv.Decode(&rec) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newer[vm.HostName(host)] = allocation{rec, kv.Mod}
}

// lock serialises promises on hosts within this conductor; the unlock gives them up. Sorted, so that two never wait for
// each other.
func (a *allocations) lock(hosts ...vm.HostName) (unlock func()) {
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	var held []*sync.Mutex
	for _, h := range hosts {
		if h == "" {
			continue
		}
		a.mu.Lock()
		m := a.hosts[h]
		if m == nil {
			m = &sync.Mutex{}
			a.hosts[h] = m
		}
		a.mu.Unlock()
		m.Lock()
		held = append(held, m)
	}
	return func() {
		for _, m := range held {
			m.Unlock()
		}
	}
}
