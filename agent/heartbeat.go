package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// renew heartbeats every third of the TTL, so that two may be lost, through whichever conductor answers. It returns when
// the lease is gone, or ctx ends. Registering says that the host is not active yet: the lease alone is renewed.
func (a *Agent) renew(ctx context.Context, reg *registration, registering bool) error {
	req := &conductorv1.HeartbeatRequest{Host: string(a.host), Epoch: reg.epoch, Lease: reg.lease, Registering: registering}
	ttl := reg.ttl
	next := ttl / 3
	for {
		if !sleep(ctx, next) {
			return context.Cause(ctx)
		}
		sent := time.Now()
		err := a.conductors.ask(ctx, ttl/3, func(ctx context.Context, c conductorv1.ClusterClient) error {
			resp, err := c.Heartbeat(ctx, req)
			if d := resp.GetTtl().AsDuration(); err == nil && d > 0 {
				ttl = d
			}
			return err
		})
		switch {
		case err == nil:
			next = max(0, ttl/3-time.Since(sent))
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case answered(err):
			return fmt.Errorf("cannot renew the lease of host %s: %w", a.host, err)
		default:
			next = jitter(min(ttl/10, time.Second))
			a.log.Warn("no conductor renewed the host lease", "host", a.host, "conductors", a.conductors.String(), "error", err)
		}
	}
}

// renewBeside heartbeats until stop is called, and returns from that when the last one is over: a.conductors is free again.
// That the lease is gone ends nothing here: whether the registration still holds, its activation is told.
func (a *Agent) renewBeside(ctx context.Context, reg *registration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() {
		for ctx.Err() == nil {
			if err := a.renew(ctx, reg, true); ctx.Err() == nil {
				a.log.Warn("not renewed while registering, trying again", "host", a.host, "epoch", reg.epoch, "error", err)
			}
		}
	})
	return func() {
		cancel()
		beside.Wait()
	}
}

// answered says whether err is a conductor's decision; another one would decide the same. Everything else may be different
// a moment later or at another conductor.
func answered(err error) bool {
	var r *vm.Refusal
	if !errors.As(err, &r) {
		return false
	}
	switch r.Why {
	case vm.ReasonStoreUnavailable, vm.ReasonInternal:
		return false
	default:
		return true
	}
}
