package liveness_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/internal/netfault"
	"leasehold/liveness"
	"leasehold/vm"
)

func TestHeartbeatIsAnsweredOnlyOnThatLeaseAndEpoch(t *testing.T) {
	w := newWorld(t)
	cache := w.cache(t)
	coordtest.RunCache(t, cache)
	h := liveness.Hosts{Client: w.client, Store: w.store, Cache: cache}
	refused := func(what string, host vm.HostName, epoch, lease int64) {
		t.Helper()
		err := h.KeepAlive(t.Context(), host, epoch, lease)
		var not *liveness.NotRegisteredError
		require.ErrorAs(t, err, &not, what)
		require.Equal(t, vm.ReasonNotFound, vm.ReasonOf(err))
	}

	registered, err := h.Grant(t.Context(), liveness.HostTTL)
	require.NoError(t, err)
	refused("not activated", "h1", 1, registered)
	require.NoError(t, h.Renew(t.Context(), "h1", 1, registered), "a lease can be renewed before it is activated")

	activate(t, w, "h1", 1, registered)
	require.NoError(t, h.KeepAlive(t.Context(), "h1", 1, registered), "at once: what the cache does not show is read")
	other, err := h.Grant(t.Context(), liveness.HostTTL)
	require.NoError(t, err)
	refused("other lease", "h1", 1, other)
	refused("older epoch", "h1", 0, registered)
	refused("newer epoch", "h1", 2, registered)
	refused("other host", "h2", 1, registered)

	activate(t, w, "h1", 2, other)
	kv, err := w.store.Get(t.Context(), w.keys.AliveCompute("h1"))
	require.NoError(t, err)
	require.NoError(t, cache.WaitRevision(t.Context(), kv.Mod))
	refused("registered anew", "h1", 1, registered)
	require.NoError(t, h.KeepAlive(t.Context(), "h1", 2, other))

	_, err = w.client.Revoke(t.Context(), clientv3.LeaseID(other)) // as if it had expired
	require.NoError(t, err)
	refused("expired", "h1", 2, other)
}

func TestHeartbeatOnAnExpiredLeaseIsRefusedThoughTheCacheStillShowsIt(t *testing.T) {
	w := newWorld(t)
	lease := grantHost(t, w, "h1", 1)
	late := w.cache(t) // filled once, then cut from etcd
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = late.Run(ctx) }()
	closed(t, "the cache is filled", late.Ready())
	cancel()
	<-done
	h := liveness.Hosts{Client: w.client, Store: w.store, Cache: late}
	require.NoError(t, h.KeepAlive(t.Context(), "h1", 1, lease))
	_, err := w.client.Revoke(t.Context(), clientv3.LeaseID(lease))
	require.NoError(t, err)
	err = h.KeepAlive(t.Context(), "h1", 1, lease)
	require.Equal(t, vm.ReasonNotFound, vm.ReasonOf(err))
}

func TestHeartbeatWithoutTheStoreIsNeitherYesNorNo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, proxy := w.proxied(t)
	lease := grantHost(t, w, "h1", 1)
	cache := w.cache(t)
	coordtest.RunCache(t, cache)
	h := liveness.Hosts{
		Client: client, Cache: cache, Store: coord.NewStore(coord.Config{Client: client, Keys: w.keys, Timeout: time.Second}),
	}
	require.NoError(t, h.KeepAlive(t.Context(), "h1", 1, lease))
	proxy.Set(netfault.BlackHole)
	err := h.KeepAlive(t.Context(), "h1", 1, lease)
	require.ErrorIs(t, err, coord.ErrUnavailable)
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(err))
	err = h.KeepAlive(t.Context(), "h2", 1, lease)
	require.ErrorIs(t, err, coord.ErrUnavailable)
	_, err = h.Grant(t.Context(), liveness.HostTTL)
	require.ErrorIs(t, err, coord.ErrUnavailable)
	_, err = h.Grant(t.Context(), time.Second)
	require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err))
}
