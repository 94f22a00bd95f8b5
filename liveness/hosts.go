package liveness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/vm"
)

// HostTTL is the life of a host's lease without a heartbeat.
const HostTTL = 10 * time.Second

// Hosts grants and renews host leases for agents, which have no credentials of their own. Any conductor can renew the
// lease that another one granted, so a conductor's death never looks like the host's. It never revokes one (V4).
type Hosts struct {
	Client *clientv3.Client // for leases
	Store  *coord.Store
	Cache  *coord.Cache
}

// Grant makes a lease for a host that registers. The alive key is written on it when the host becomes schedulable.
func (h *Hosts) Grant(ctx context.Context, ttl time.Duration) (lease int64, err error) {
	if ttl < MinTTL || ttl%time.Second != 0 {
		return 0, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot use a host TTL of %v: it must be whole seconds and at least %v", ttl, MinTTL)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := h.Client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return 0, &unavailableError{"grant a host lease", err}
	}
	return int64(resp.ID), nil
}

// KeepAlive answers a heartbeat. nil means: the host's alive key hangs on this very lease and epoch, and a keep-alive
// sent after the call began was answered; so the host may count its TTL from when it sent the heartbeat. A
// *NotRegisteredError means that it must register again; any other error, that it should ask another conductor.
func (h *Hosts) KeepAlive(ctx context.Context, host vm.HostName, epoch, lease int64) error {
	if err := h.registered(ctx, host, epoch, lease); err != nil {
		return err
	}
	return h.Renew(ctx, host, epoch, lease)
}

// Renew keeps a lease alive between registration and activation, when no alive key hangs on it yet. It says nothing about
// the alive key: a heartbeat of a schedulable host is answered by KeepAlive.
func (h *Hosts) Renew(ctx context.Context, host vm.HostName, epoch, lease int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := h.Client.KeepAliveOnce(ctx, clientv3.LeaseID(lease))
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return &NotRegisteredError{host, epoch, lease, "the lease has expired"}
	case err != nil:
		return &unavailableError{fmt.Sprintf("renew the lease of host %s", host), err}
	}
	return nil
}

// Remaining is how long a lease lives if nobody renews it from now on, in whole seconds as etcd counts them. ok is false when
// it is gone, or etcd does not answer soon: it is for people to read.
func (h *Hosts) Remaining(ctx context.Context, lease int64) (left time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := h.Client.TimeToLive(ctx, clientv3.LeaseID(lease))
	if err != nil || resp.TTL < 0 {
		return 0, false
	}
	return time.Duration(resp.TTL) * time.Second, true
}

// registered compares the alive key. The cache may be late, so what it denies is read; what it affirms wrongly, because
// the host has registered anew since, was the host's own doing and its new registration does not count on this answer.
func (h *Hosts) registered(ctx context.Context, host vm.HostName, epoch, lease int64) error {
	key := h.Store.Keys().AliveCompute(host)
	if r, e, ok := coord.Load[vm.AliveCompute](h.Cache, key); ok && e.Lease == lease && r.Epoch == epoch {
		return nil
	}
	kv, err := h.Store.Get(ctx, key)
	if errors.Is(err, coord.ErrNotFound) {
		return &NotRegisteredError{host, epoch, lease, "it has no alive key"}
	}
	if err != nil {
		return err
	}
	var r vm.AliveCompute
	if err := kv.Decode(&r); err != nil {
		return err
	}
	switch {
	case r.Epoch != epoch:
		return &NotRegisteredError{host, epoch, lease, fmt.Sprintf("its epoch is %d", r.Epoch)}
	case kv.Lease != lease:
		return &NotRegisteredError{host, epoch, lease, fmt.Sprintf("its alive key hangs on lease %x", kv.Lease)}
	}
	return nil
}

// unavailableError is a lease call that etcd did not answer.
type unavailableError struct {
	what  string
	cause error
}

func (e *unavailableError) Error() string { return fmt.Sprintf("cannot %s: %v", e.what, e.cause) }

func (e *unavailableError) Is(target error) bool { return target == coord.ErrUnavailable }

// Reason is store_unavailable.
func (e *unavailableError) Reason() vm.Reason { return vm.ReasonStoreUnavailable }
