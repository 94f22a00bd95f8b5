package liveness_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"leasehold/internal/netfault"
	"leasehold/liveness"
)

func TestKeeperOpensANewSessionWhenOneIsLost(t *testing.T) {
	w := newWorld(t)
	l, err := listen()
	require.NoError(t, err)
	cfg := w.config("c1", l.Addr().String())
	cfg.TTL = 3 * time.Second
	k, err := liveness.NewKeeper(cfg)
	require.NoError(t, err)
	serve(t, l, k)
	sessions, lost := make(chan *liveness.Session, 8), make(chan *liveness.Session, 8)
	k.OnSession(func(s *liveness.Session) { sessions <- s })
	k.OnLost(func(s *liveness.Session) { lost <- s })
	require.Nil(t, k.Current())
	stop := start(t, k.Run)

	first := <-sessions
	require.Same(t, first, k.Current())
	_, err = w.client.Revoke(t.Context(), clientv3.LeaseID(first.Lease()))
	require.NoError(t, err)
	require.Same(t, first, <-lost)
	require.ErrorIs(t, first.Trusted(), liveness.ErrLost)
	second := <-sessions
	require.NotEqual(t, first.Incarnation(), second.Incarnation())
	require.Equal(t, second.Lease(), w.leaseOf(t, "c1"))

	require.ErrorIs(t, stop(), context.Canceled)
	require.Nil(t, k.Current())
	require.Zero(t, w.leaseOf(t, "c1"), "a clean end revokes at once")
	require.ErrorIs(t, context.Cause(second.Context()), liveness.ErrStopping)
	require.Empty(t, lost, "a session that was closed is not lost")
}

func TestKeeperSurvivesABlackHole(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	cfg := w.config("c1", "")
	cfg.Client, cfg.TTL = client, 2*time.Second
	k, _ := keep(t, cfg)
	first := k.Current()
	proxy.Set(netfault.BlackHole)
	closed(t, "the window ends", first.Context().Done())
	eventually(t, "no session", func() bool { return k.Current() == nil })
	proxy.Set(netfault.Pass)
	eventually(t, "a new session", func() bool { return k.Current() != nil })
	require.NotEqual(t, first.Lease(), k.Current().Lease())
	require.ErrorIs(t, first.Trusted(), liveness.ErrLost)
}

func TestSecondLiveProcessOfTheSameNameRefusesToStart(t *testing.T) {
	w := newWorld(t)
	one := w.spawn(t, "c1", time.Minute)
	lease := w.leaseOf(t, "c1")
	k, err := liveness.NewKeeper(w.config("c1", "127.0.0.1:1"))
	require.NoError(t, err)
	err = k.Run(t.Context())
	var taken *liveness.NameTakenError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, one.address, taken.Address)
	require.Equal(t, lease, w.leaseOf(t, "c1"), "the first is left alone")
	require.Equal(t, lease, w.leaseOf(t, "c1"))
}

func TestRestartAfterACrashDoesNotWaitForTheTTL(t *testing.T) {
	w := newWorld(t)
	one := w.spawn(t, "c1", time.Minute)
	lease := w.leaseOf(t, "c1")
	one.kill()
	began := time.Now()
	keep(t, w.config("c1", ""))
	require.Less(t, time.Since(began), soon)
	require.NotEqual(t, lease, w.leaseOf(t, "c1"))
	_, err := w.client.KeepAliveOnce(t.Context(), clientv3.LeaseID(lease))
	require.Error(t, err, "the old lease is revoked")
}

func TestRestartAtTheSameAddressRecognisesItself(t *testing.T) {
	w := newWorld(t)
	l, err := listen()
	require.NoError(t, err)
	crashed, err := liveness.Open(t.Context(), w.config("c1", l.Addr().String()))
	require.NoError(t, err)

	k, err := liveness.NewKeeper(w.config("c1", l.Addr().String()))
	require.NoError(t, err)
	serve(t, l, k)
	start(t, k.Run)
	eventually(t, "a session in place of the crashed one", func() bool { return k.Current() != nil })
	require.NotEqual(t, crashed.Lease(), w.leaseOf(t, "c1"))
}

func TestAddressThatDropsPacketsProvesNothing(t *testing.T) {
	w := newWorld(t)
	first, err := liveness.Open(t.Context(), w.config("c1", dropping(t)))
	require.NoError(t, err)
	_, err = liveness.Open(t.Context(), w.config("c1", "127.0.0.1:1"))
	var taken *liveness.NameTakenError
	require.ErrorAs(t, err, &taken)
	require.False(t, taken.Alive)
	require.Equal(t, first.Lease(), w.leaseOf(t, "c1"))
}

// dropping is a loopback address whose kernel answers no handshake: the queue of its listener is full.
func dropping(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	bound, err := unix.Getsockname(fd)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			timeout, ok := errors.AsType[net.Error](err)
			require.True(t, ok && timeout.Timeout(), err)
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	require.Fail(t, "the queue is never full")
	return ""
}

func TestNameOfASilentProcessIsFreeWhenItsLeaseHasExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := listen() // the kernel accepts, nobody answers
	require.NoError(t, err)
	defer l.Close()
	cfg := w.config("c1", l.Addr().String())
	cfg.TTL = 5 * time.Second
	silent, err := liveness.Open(t.Context(), cfg)
	require.NoError(t, err)

	k, err := liveness.NewKeeper(w.config("c1", "127.0.0.1:1"))
	require.NoError(t, err)
	start(t, k.Run)
	eventually(t, "a session", func() bool { return k.Current() != nil })
	resp, err := w.client.TimeToLive(t.Context(), clientv3.LeaseID(silent.Lease()))
	require.NoError(t, err)
	require.EqualValues(t, -1, resp.TTL)
	require.ErrorIs(t, silent.Trusted(), liveness.ErrLost, "it had expired, nobody revoked it")
}
