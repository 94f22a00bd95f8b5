package liveness_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/liveness"
	"leasehold/vm"
)

func TestMembersAreReadFromTheCache(t *testing.T) {
	w := newWorld(t)
	cache := w.cache(t)
	coordtest.RunCache(t, cache)
	m := liveness.Members{Cache: cache}
	require.Empty(t, m.Conductors())
	require.Empty(t, m.Computes())

	var draining *liveness.Session
	for _, name := range []vm.ConductorName{"c2", "c1", "c3"} {
		s, err := liveness.Open(t.Context(), w.config(name, "127.0.0.1:1"))
		require.NoError(t, err)
		draining = s
	}
	lease := grantHost(t, w, "h1", 7)
	eventually(t, "all are seen", func() bool { return len(m.Conductors()) == 3 && len(m.Computes()) == 1 })
	require.Equal(t, vm.ConductorName("c1"), m.Conductors()[0].Name)

	h, on, ok := m.Compute("h1")
	require.True(t, ok)
	require.Equal(t, lease, on)
	require.Equal(t, int64(7), h.Epoch)
	_, _, ok = m.Compute("h2")
	require.False(t, ok)
	_, on, ok = m.Conductor("c3")
	require.True(t, ok)
	require.Equal(t, draining.Lease(), on)
	_, _, ok = m.Conductor("h1")
	require.False(t, ok)

	var ranks []int
	for _, c := range m.Conductors() {
		ranks = append(ranks, m.Rank("task", c.Name))
	}
	slices.Sort(ranks)
	require.Equal(t, []int{0, 1, 2}, ranks)
	require.Equal(t, 3, m.Rank("task", "stranger"))

	require.NoError(t, draining.Drain(t.Context()))
	eventually(t, "the draining one is left out", func() bool { return len(m.Serving()) == 2 })
	require.Equal(t, []vm.ConductorName{"c1", "c2"}, m.Serving())
	require.Equal(t, 2, m.Rank("task", "c3"), "it is behind all others")
	require.Len(t, m.Conductors(), 3)
}

func TestRankMovesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	const keys = 3000
	var live []vm.ConductorName
	for i := range 10 {
		live = append(live, vm.ConductorName(fmt.Sprintf("c%d", i)))
	}
	order := func(key string, live []vm.ConductorName) []vm.ConductorName {
		out := make([]vm.ConductorName, len(live))
		for _, c := range live {
			r := liveness.Rank(key, c, live)
			require.Empty(t, out[r], "two have one rank")
			out[r] = c
		}
		return out
	}
	shares := map[vm.ConductorName]int{}
	for i := range keys {
		key := fmt.Sprintf("0190a6b2-%04x-7000-8000-000000000000", i)
		all := order(key, live)
		shares[all[0]]++
		gone := live[i%len(live)]
		rest := slices.DeleteFunc(slices.Clone(live), func(c vm.ConductorName) bool { return c == gone })
		want := slices.DeleteFunc(slices.Clone(all), func(c vm.ConductorName) bool { return c == gone })
		require.Equal(t, want, order(key, rest), "those who stay keep their order")
		slices.Reverse(rest)
		require.Equal(t, want, order(key, rest), "the order of the view does not matter")
	}
	for c, n := range shares {
		require.InDelta(t, keys/10, n, keys/40, "%s has an uneven share", c)
	}
}

// The order is part of the protocol between versions: it must never change.
func TestRankIsTheSameForEver(t *testing.T) {
	live := []vm.ConductorName{"c1", "c2", "c3"}
	got := map[string]int{}
	for _, key := range []string{"a", "b", "c", "d"} {
		got[key] = liveness.Rank(key, "c1", live)
	}
	require.Equal(t, map[string]int{"a": 0, "b": 2, "c": 0, "d": 1}, got)
}

// grantHost registers and activates a host.
func grantHost(t *testing.T, w world, host vm.HostName, epoch int64) int64 {
	t.Helper()
	h := liveness.Hosts{Client: w.client, Store: w.store}
	lease, err := h.Grant(t.Context(), liveness.HostTTL)
	require.NoError(t, err)
	activate(t, w, host, epoch, lease)
	return lease
}

func activate(t *testing.T, w world, host vm.HostName, epoch, lease int64) {
	t.Helper()
	key := w.keys.AliveCompute(host)
	guard := coord.Absent(key)
	if kv, err := w.store.Get(t.Context(), key); err == nil {
		guard = coord.Unchanged(key, kv.Mod)
	}
	_, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "activate"}).If(guard).
		Then(coord.PutLeased(key, vm.AliveCompute{Schema: vm.Schema, ID: host, Name: host, Epoch: epoch}, lease).Witness()))
	require.NoError(t, err)
}
