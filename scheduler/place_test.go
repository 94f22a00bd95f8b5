package scheduler_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/scheduler"
	"leasehold/vm"
)

var (
	small = vm.Size{VCPUs: 1, MemoryMiB: 512, DiskGiB: 5}
	large = vm.Size{VCPUs: 4, MemoryMiB: 4096, DiskGiB: 40}
	since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// host is an empty host that takes everything it has room for; changes make it another.
func host(name vm.HostName, changes ...func(*scheduler.Candidate)) scheduler.Candidate {
	c := scheduler.Candidate{
		Host:        vm.Host{Name: name, Admin: vm.HostEnabled, Capacity: vm.Size{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100}},
		Alive:       true,
		Allocations: vm.Allocations{Name: name},
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func down(c *scheduler.Candidate)     { c.Alive, c.DownSince = false, since }
func disabled(c *scheduler.Candidate) { c.Host.Admin = vm.HostDisabled }
func draining(c *scheduler.Candidate) { c.Host.Admin = vm.HostDraining }

func holds(id vm.InstanceID, size vm.Size) func(*scheduler.Candidate) {
	return func(c *scheduler.Candidate) {
		var err error
		if c.Allocations, err = scheduler.Reserve(c.Allocations, id, size, c.Host.Capacity); err != nil {
			panic(err)
		}
	}
}

func TestPlaceTakesTheHostThatStaysEmptiest(t *testing.T) {
	got, err := scheduler.Place(scheduler.Request{Instance: "i1", Size: small}, []scheduler.Candidate{
		host("h1", holds("a", large)), host("h2", holds("b", small)), host("h3", holds("c", large), holds("d", small)),
	})
	require.NoError(t, err)
	require.Equal(t, vm.HostName("h2"), got.Host)
	require.InDelta(t, 0.75, got.Share, 1e-9, "6 of 8 vCPUs stay free, which is the scarcest part")
	require.Equal(t, 3, got.Fit)
	require.Equal(t, 1, got.Near)
}

func TestPlaceWeighsTheScarcestPart(t *testing.T) {
	got, err := scheduler.Place(scheduler.Request{Instance: "i1", Size: small}, []scheduler.Candidate{
		host("h1", holds("a", vm.Size{DiskGiB: 90})),
		host("h2", holds("b", vm.Size{VCPUs: 4, MemoryMiB: 4096, DiskGiB: 50})),
	})
	require.NoError(t, err)
	require.Equal(t, vm.HostName("h2"), got.Host)
}

func TestPlaceIgnoresPartsThatNeitherHas(t *testing.T) {
	c := host("h1")
	c.Host.Capacity.DiskGiB = 0
	got, err := scheduler.Place(scheduler.Request{Instance: "i1", Size: vm.Size{VCPUs: 4}}, []scheduler.Candidate{c})
	require.NoError(t, err)
	require.InDelta(t, 0.5, got.Share, 1e-9)
}

func TestPlaceAgreesWhateverTheOrderOfCandidates(t *testing.T) {
	candidates := []scheduler.Candidate{host("h1"), host("h2"), host("h3"), host("h4")}
	for n := range 50 {
		req := scheduler.Request{Instance: vm.InstanceID(fmt.Sprint("i", n)), Size: small}
		first, err := scheduler.Place(req, candidates)
		require.NoError(t, err)
		slices.Reverse(candidates)
		second, err := scheduler.Place(req, candidates)
		require.NoError(t, err)
		require.Equal(t, first, second)
	}
}

func TestInstancesPlacedAtOnceGoDifferentWays(t *testing.T) {
	candidates := []scheduler.Candidate{
		host("h1"), host("h2"), host("h3", holds("a", vm.Size{MemoryMiB: 256})), host("h4", holds("b", large)),
	}
	chosen := map[vm.HostName]int{}
	for n := range 300 {
		got, err := scheduler.Place(scheduler.Request{Instance: vm.InstanceID(fmt.Sprint("i", n)), Size: small}, candidates)
		require.NoError(t, err)
		require.Equal(t, 3, got.Near)
		chosen[got.Host]++
	}
	for _, near := range []vm.HostName{"h1", "h2", "h3"} {
		require.Greaterf(t, chosen[near], 60, "%v", chosen)
	}
	require.Zero(t, chosen["h4"], "half full is not near")
}

func TestAFleetFillsEvenly(t *testing.T) {
	candidates := []scheduler.Candidate{host("h1"), host("h2"), host("h3"), host("h4")}
	for n := range 32 {
		id := vm.InstanceID(fmt.Sprint("i", n))
		got, err := scheduler.Place(scheduler.Request{Instance: id, Size: small}, candidates)
		require.NoError(t, err)
		i := slices.IndexFunc(candidates, func(c scheduler.Candidate) bool { return c.Host.Name == got.Host })
		holds(id, small)(&candidates[i])
	}
	for _, c := range candidates {
		require.Len(t, c.Allocations.Instances, 8)
	}
	_, err := scheduler.Place(scheduler.Request{Instance: "one more", Size: small}, candidates)
	require.EqualError(t, err, "cannot place instance one more: 4 hosts: 4 short of vcpus (need 1, most free 0)")
}

func TestARepeatedPlacementIsNotInItsOwnWay(t *testing.T) {
	all := vm.Size{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100}
	got, err := scheduler.Place(scheduler.Request{Instance: "i1", Size: all}, []scheduler.Candidate{host("h1", holds("i1", all))})
	require.NoError(t, err)
	require.Equal(t, vm.HostName("h1"), got.Host)
}

// P8: nothing fits, and the message says how many hosts for which reason.
func TestNoHostSaysWhy(t *testing.T) {
	huge := vm.Size{VCPUs: 1, MemoryMiB: 8000, DiskGiB: 1}
	for _, c := range []struct {
		name       string
		req        scheduler.Request
		candidates []scheduler.Candidate
		want       string
	}{
		{
			name: "an empty fleet", req: scheduler.Request{Instance: "i1", Size: small},
			want: "cannot place instance i1: there are no hosts",
		},
		{
			name: "counts, the most frequent first", req: scheduler.Request{Instance: "i1", Size: huge},
			candidates: []scheduler.Candidate{host("h1", disabled), host("h2", holds("a", large)), host("h3", holds("b", small))},
			want:       "cannot place instance i1: 3 hosts: 2 short of memory (need 8000 MiB, most free 7680), 1 disabled",
		},
		{
			name: "each filter", req: scheduler.Request{Instance: "i1", Size: small, Exclude: map[vm.HostName]string{"h4": "spawn failed"}},
			candidates: []scheduler.Candidate{host("h1", down), host("h2", draining), host("h3", disabled), host("h4")},
			want:       "cannot place instance i1: 4 hosts: 1 disabled, 1 down, 1 draining, 1 failed before",
		},
		{
			name: "the requested host", req: scheduler.Request{Instance: "i1", Size: small, Host: "h1"},
			candidates: []scheduler.Candidate{host("h1", down), host("h2")},
			want:       "cannot place instance i1 on host h1: down since 2026-01-02T03:04:05Z",
		},
		{
			name: "a requested host that is small", req: scheduler.Request{Instance: "i1", Host: "h1", Size: vm.Size{VCPUs: 9, DiskGiB: 101}},
			candidates: []scheduler.Candidate{host("h1")},
			want:       "cannot place instance i1 on host h1: short of vcpus: need 9, free 8; disk: need 101 GiB, free 100",
		},
		{
			name: "a requested host that nobody knows", req: scheduler.Request{Instance: "i1", Size: small, Host: "h9"},
			candidates: []scheduler.Candidate{host("h1")},
			want:       "cannot place instance i1 on host h9: there is no such host",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := scheduler.Place(c.req, c.candidates)
			require.EqualError(t, err, c.want)
			require.Equal(t, vm.ReasonCapacity, vm.ReasonOf(err))
			none, ok := errors.AsType[*scheduler.NoHostError](err)
			require.True(t, ok)
			require.Equal(t, scheduler.Explain(c.req, c.candidates), none.Reasons)
		})
	}
}

func TestExplainNamesTheFirstFilterThatStopsAHost(t *testing.T) {
	req := scheduler.Request{
		Instance: "i1", Size: large, Host: "h5",
		Exclude: map[vm.HostName]string{"h1": "x", "h2": "x", "h3": "x", "h5": "spawn failed: no such image"},
	}
	all := []func(*scheduler.Candidate){holds("a", vm.Size{VCPUs: 8}), disabled, down}
	type line struct {
		Host   vm.HostName
		Filter scheduler.Filter
		Why    string
	}
	var got []line
	for _, r := range scheduler.Explain(req, []scheduler.Candidate{
		host("h5"), host("h4"), host("h3", all[:1]...), host("h2", all[:2]...), host("h1", all...),
	}) {
		got = append(got, line{r.Host, r.Filter, r.Why})
	}
	require.Equal(t, []line{
		{"h1", scheduler.Up, "down since 2026-01-02T03:04:05Z"},
		{"h2", scheduler.Enabled, "disabled"},
		{"h3", scheduler.Requested, "not the requested host h5"},
		{"h4", scheduler.Requested, "not the requested host h5"},
		{"h5", scheduler.Fresh, "failed before: spawn failed: no such image"},
	}, got)

	req.Host, req.Exclude = "", nil
	reasons := scheduler.Explain(req, []scheduler.Candidate{host("h2"), host("h1", holds("a", vm.Size{VCPUs: 5, MemoryMiB: 8000}))})
	require.Equal(t, scheduler.Fits, reasons[0].Filter)
	require.Equal(t, []scheduler.Shortage{{Part: "memory", Unit: "MiB", Need: 4096, Free: 192}, {Part: "vcpus", Need: 4, Free: 3}}, reasons[0].Short)
	require.Empty(t, reasons[1].Filter)
	require.Equal(t, "fits: 50% of its scarcest part stays free", reasons[1].Why)
}
