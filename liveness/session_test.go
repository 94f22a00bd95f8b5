package liveness_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/internal/netfault"
	"leasehold/liveness"
	"leasehold/vm"
)

func TestOpenWritesTheAliveKeyOnItsLease(t *testing.T) {
	w := newWorld(t)
	s, err := liveness.Open(t.Context(), w.config("c1", "127.0.0.1:1"))
	require.NoError(t, err)
	require.NoError(t, s.Trusted())
	require.Equal(t, vm.ConductorName("c1"), s.Conductor())

	kv, err := w.store.Get(t.Context(), w.keys.AliveConductor("c1"))
	require.NoError(t, err)
	require.Equal(t, s.Lease(), kv.Lease)
	var r vm.AliveConductor
	require.NoError(t, kv.Decode(&r))
	require.Equal(t, s.Incarnation(), r.Incarnation)
	require.Equal(t, "127.0.0.1:1", r.Address)
	require.False(t, r.Draining)

	require.NoError(t, s.Drain(t.Context()))
	require.NoError(t, s.Drain(t.Context()))
	kv, err = w.store.Get(t.Context(), w.keys.AliveConductor("c1"))
	require.NoError(t, err)
	require.NoError(t, kv.Decode(&r))
	require.True(t, r.Draining)
	require.Equal(t, s.Lease(), kv.Lease, "a rewritten alive key keeps its lease")

	require.NoError(t, s.Close(t.Context()))
	require.ErrorIs(t, s.Trusted(), liveness.ErrStopping)
	require.ErrorIs(t, context.Cause(s.Context()), liveness.ErrStopping)
	require.Zero(t, w.leaseOf(t, "c1"))
	require.NoError(t, s.Close(t.Context()), "closing twice is no error")
}

func TestOpenRefusesTimesThatLeaveNoWindow(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ ttl, margin time.Duration }{
		"ttl under the minimum":     {ttl: time.Second},
		"ttl not in whole seconds":  {ttl: 2500 * time.Millisecond},
		"margin of a third":         {ttl: 3 * time.Second, margin: time.Second},
		"margin below zero":         {ttl: 3 * time.Second, margin: -1},
		"margin larger than window": {ttl: 3 * time.Second, margin: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := w.config("c1", "127.0.0.1:1")
			cfg.TTL, cfg.Margin = c.ttl, c.margin
			_, err := liveness.Open(t.Context(), cfg)
			require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err))
		})
	}
}

// A story on a clock of our own: TTL 10 s, margin 2 s, so the first window ends at 8 s.
func TestWindowIsAnchoredWhenTheKeepAliveWasSent(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	now := new(clock)
	cfg := w.config("c1", "127.0.0.1:1")
	cfg.Client, cfg.Clock, cfg.TTL, cfg.Margin = client, now.read, 10*time.Second, 2*time.Second
	s, err := liveness.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, 8*time.Second, liveness.TrustedUntil(s))

	now.set(1 * time.Second)
	renewed := slowKeepAlive(t, s, proxy, now)
	now.set(5 * time.Second)
	proxy.Set(netfault.Pass)
	require.NoError(t, <-renewed)
	require.Equal(t, 9*time.Second, liveness.TrustedUntil(s), "1 s + TTL - margin, not 5 s + TTL - margin")
	require.NoError(t, s.Trusted())
}

func TestWindowIsNeverReopened(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	now := new(clock)
	cfg := w.config("c1", "127.0.0.1:1")
	cfg.Client, cfg.Clock, cfg.TTL, cfg.Margin = client, now.read, 10*time.Second, 2*time.Second
	s, err := liveness.Open(t.Context(), cfg)
	require.NoError(t, err)

	now.set(7 * time.Second)
	renewed := slowKeepAlive(t, s, proxy, now)
	now.set(8 * time.Second) // the process was suspended; its answer waits in the socket
	proxy.Set(netfault.Pass)
	require.NoError(t, <-renewed, "etcd did answer")
	require.ErrorIs(t, s.Trusted(), liveness.ErrLost)
	require.Equal(t, 8*time.Second, liveness.TrustedUntil(s))
	require.ErrorIs(t, context.Cause(s.Context()), liveness.ErrLost)

	now.set(0)
	require.ErrorIs(t, s.Trusted(), liveness.ErrLost, "not even by a clock that goes back")
	require.ErrorIs(t, s.Run(t.Context()), liveness.ErrLost)
}

// slowKeepAlive sends a keep-alive whose answer is held, and returns when its clock was read.
func slowKeepAlive(t *testing.T, s *liveness.Session, proxy *netfault.Proxy, now *clock) <-chan error {
	t.Helper()
	proxy.Set(netfault.Mute)
	before := now.reads.Load()
	renewed := make(chan error, 1)
	go func() { renewed <- liveness.KeepAlive(t.Context(), s) }()
	eventually(t, "the send time was taken", func() bool { return now.reads.Load() >= before+2 })
	return renewed
}

func TestBlackHoleEndsTheWindowBeforeTheLease(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	cfg := w.config("c1", "127.0.0.1:1")
	cfg.Client, cfg.TTL = client, 3*time.Second
	s, err := liveness.Open(t.Context(), cfg)
	require.NoError(t, err)
	first := liveness.TrustedUntil(s)
	start(t, s.Run)
	eventually(t, "a renewal", func() bool { return liveness.TrustedUntil(s) > first })

	proxy.Set(netfault.BlackHole)
	began := time.Now()
	closed(t, "the window ends", s.Context().Done())
	require.Less(t, time.Since(began), 3*time.Second, "TTL - margin after the last keep-alive was sent")
	require.Equal(t, s.Lease(), w.leaseOf(t, "c1"), "etcd has not expired the lease yet")
	require.ErrorIs(t, s.Trusted(), liveness.ErrLost)
	eventually(t, "etcd expires the lease", func() bool { return w.leaseOf(t, "c1") == 0 })
	proxy.Set(netfault.Pass)
	require.ErrorIs(t, s.Run(t.Context()), liveness.ErrLost)
}

func TestShortOutageOfTheStoreIsOutlived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, proxy := w.proxied(t)
	cfg := w.config("c1", "127.0.0.1:1")
	cfg.Client, cfg.TTL = client, 6*time.Second
	s, err := liveness.Open(t.Context(), cfg)
	require.NoError(t, err)
	start(t, s.Run)
	before := liveness.TrustedUntil(s)
	proxy.Set(netfault.Cut)
	tries := proxy.Accepted()
	eventually(t, "the keep-alive is tried", func() bool { return proxy.Accepted() > tries })
	proxy.Set(netfault.Pass)
	eventually(t, "a renewal", func() bool { return liveness.TrustedUntil(s) > before })
	require.NoError(t, s.Trusted())
}

func TestRevokedLeaseEndsTheWindowAtTheNextKeepAlive(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("c1", "127.0.0.1:1")
	cfg.TTL = 3 * time.Second
	s, err := liveness.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = w.client.Revoke(t.Context(), clientv3.LeaseID(s.Lease()))
	require.NoError(t, err)
	require.ErrorIs(t, s.Run(t.Context()), liveness.ErrLost)
	require.ErrorContains(t, s.Trusted(), "does not know")
}

func TestRunLeavesTheSessionOpenWhenItsContextEnds(t *testing.T) {
	w := newWorld(t)
	s, err := liveness.Open(t.Context(), w.config("c1", "127.0.0.1:1"))
	require.NoError(t, err)
	require.ErrorIs(t, start(t, s.Run)(), context.Canceled)
	require.NoError(t, s.Trusted())
	require.NotZero(t, w.leaseOf(t, "c1"))
}

func TestOpenLeavesNothingWhenTheNameIsTaken(t *testing.T) {
	w := newWorld(t)
	k, _ := keep(t, w.config("c1", ""))
	before, err := w.client.Leases(t.Context())
	require.NoError(t, err)

	_, err = liveness.Open(t.Context(), w.config("c1", "127.0.0.1:1"))
	var taken *liveness.NameTakenError
	require.ErrorAs(t, err, &taken)
	require.True(t, taken.Alive)
	require.Equal(t, k.Current().Incarnation(), taken.Incarnation)
	require.WithinDuration(t, time.Now(), taken.Since, soon)
	require.Equal(t, vm.ReasonAlreadyExists, vm.ReasonOf(err))
	require.NoError(t, k.Current().Trusted())

	after, err := w.client.Leases(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, len(after.Leases), len(before.Leases))
}

func TestNameOfAnImmortalKeyIsRefusedWithTheRemedy(t *testing.T) {
	w := newWorld(t)
	key := w.keys.AliveConductor("c1")
	_, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "test"}).If(coord.Absent(key)).
		Then(coord.Put(key, vm.AliveConductor{Schema: vm.Schema, Name: "c1", Address: "127.0.0.1:1"}).Witness()))
	require.NoError(t, err)
	_, err = liveness.Open(t.Context(), w.config("c1", "127.0.0.1:1"))
	require.ErrorContains(t, err, "hangs on no lease")
}
