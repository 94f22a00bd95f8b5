package liveness_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/internal/netfault"
	"leasehold/liveness"
	"leasehold/vm"
)

func TestKilledPeerLosesItsLeaseLongBeforeTheTTL(t *testing.T) {
	w := newWorld(t)
	k, _ := keep(t, w.config("c1", ""))
	p, _ := w.observe(t, k)
	other := w.spawn(t, "c2", 10*time.Minute)
	eventually(t, "the peer is heard", func() bool { return p.Streams() == 1 })

	began := time.Now()
	other.kill()
	eventually(t, "the lease is revoked", func() bool { return w.leaseOf(t, "c2") == 0 })
	t.Logf("gone after %v", time.Since(began))
	eventually(t, "it was counted", func() bool { return p.Revoked() == 1 })
	eventually(t, "it is heard no more", func() bool { return p.Streams() == 0 })
}

func TestPeerThatWasDeadBeforeWeCameLosesItsLease(t *testing.T) {
	w := newWorld(t)
	other := w.spawn(t, "c2", 10*time.Minute)
	other.kill()
	require.NotZero(t, w.leaseOf(t, "c2"))
	k, _ := keep(t, w.config("c1", ""))
	w.observe(t, k)
	eventually(t, "the lease is revoked", func() bool { return w.leaseOf(t, "c2") == 0 })
}

func TestFrozenPeerIsLeftToItsTTL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, _ := keep(t, w.config("c1", ""))
	p, _ := w.observe(t, k)
	other := w.spawn(t, "c2", 3*time.Second)
	eventually(t, "the peer is heard", func() bool { return p.Streams() == 1 })

	began := time.Now()
	other.freeze(t)
	eventually(t, "the lease expires", func() bool { return w.leaseOf(t, "c2") == 0 })
	// The last keep-alive was sent at most TTL/3 before, so the lease had more than half of its TTL to go.
	require.Greater(t, time.Since(began), 1500*time.Millisecond)
	require.Zero(t, p.Revoked())
}

func TestUnreachablePeerIsLeftToItsTTL(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]netfault.Mode{
		"black hole":                netfault.BlackHole,
		"connections cut, not dead": netfault.Cut,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l, err := listen()
			require.NoError(t, err)
			front := proxyTo(t, l.Addr().String())
			other, err := liveness.NewKeeper(w.config("c2", front.Addr()))
			require.NoError(t, err)
			serve(t, l, other)
			start(t, other.Run)
			eventually(t, "the peer's session", func() bool { return other.Current() != nil })
			lease := other.Current().Lease()

			front.Set(mode)
			k, _ := keep(t, w.config("c1", ""))
			p, _ := w.observe(t, k)
			eventually(t, "the peer is tried again and again", func() bool { return front.Accepted() >= 5 })
			require.Equal(t, lease, w.leaseOf(t, "c2"))
			require.Zero(t, p.Revoked())

			front.Set(netfault.Pass)
			eventually(t, "the peer is heard", func() bool { return p.Streams() == 1 })
			require.Equal(t, lease, w.leaseOf(t, "c2"))
		})
	}
}

func TestPeerThatAnswersWithAnotherIncarnationLosesTheOldLease(t *testing.T) {
	w := newWorld(t)
	l, err := listen()
	require.NoError(t, err)
	crashed, err := liveness.Open(t.Context(), w.config("c2", l.Addr().String()))
	require.NoError(t, err)
	restarted, err := liveness.NewKeeper(w.config("c2", l.Addr().String())) // listens, has no session yet
	require.NoError(t, err)
	serve(t, l, restarted)

	k, _ := keep(t, w.config("c1", ""))
	p, _ := w.observe(t, k)
	eventually(t, "the old lease is revoked", func() bool { return w.leaseOf(t, "c2") == 0 })
	eventually(t, "it was counted", func() bool { return p.Revoked() == 1 })
	_, err = w.client.KeepAliveOnce(t.Context(), clientv3.LeaseID(crashed.Lease()))
	require.Error(t, err)

	start(t, restarted.Run)
	eventually(t, "the new one is heard", func() bool { return p.Streams() == 1 })
	require.Equal(t, restarted.Current().Lease(), w.leaseOf(t, "c2"))
	require.Equal(t, 1, p.Revoked())
}

func TestPeerUnderAnotherNameProvesNothing(t *testing.T) {
	w := newWorld(t)
	l, err := listen()
	require.NoError(t, err)
	front := proxyTo(t, l.Addr().String())
	_, err = liveness.Open(t.Context(), w.config("c2", front.Addr()))
	require.NoError(t, err)
	third, err := liveness.NewKeeper(w.config("c3", l.Addr().String()))
	require.NoError(t, err)
	serve(t, l, third)

	k, _ := keep(t, w.config("c1", ""))
	p, _ := w.observe(t, k)
	eventually(t, "it is asked again and again", func() bool { return front.Accepted() >= 5 })
	require.NotZero(t, w.leaseOf(t, "c2"))
	require.Zero(t, p.Revoked())
}

func TestConductorThatWasThoughtDeadHearsOfItAndComesBack(t *testing.T) {
	w := newWorld(t)
	k, _ := keep(t, w.config("c1", "")) // TTL 1 min: the next keep-alive is 20 s away
	_, cache := w.observe(t, k)
	first := k.Current()
	members := liveness.Members{Cache: cache}
	eventually(t, "it is seen", func() bool { return len(members.Conductors()) == 1 })
	_, err := w.client.Revoke(t.Context(), clientv3.LeaseID(first.Lease()))
	require.NoError(t, err)
	closed(t, "the session is lost", first.Context().Done())
	eventually(t, "a new session", func() bool { s := k.Current(); return s != nil && s != first })
}

func TestThreeConductorsHearEachOtherAndACleanEndIsNoSuspicion(t *testing.T) {
	w := newWorld(t)
	var all []*liveness.Peers
	var stops []func() error
	for _, name := range []vm.ConductorName{"c1", "c2", "c3"} {
		k, stop := keep(t, w.config(name, ""))
		p, _ := w.observe(t, k)
		all, stops = append(all, p), append(stops, stop)
	}
	for _, p := range all {
		eventually(t, "two peers are heard", func() bool { return p.Streams() == 2 })
	}
	_ = stops[2]()
	require.Zero(t, w.leaseOf(t, "c3"))
	for _, p := range all[:2] {
		eventually(t, "one peer is heard", func() bool { return p.Streams() == 1 })
		require.Zero(t, p.Revoked())
	}
}
