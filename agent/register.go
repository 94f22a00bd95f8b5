package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// registration is what a conductor gave this host: it holds until another one replaces it. That the lease may be lost
// meanwhile changes nothing here: machines run on.
type registration struct {
	epoch      int64
	lease      int64
	generation int64
	ttl        time.Duration
	pending    bool // until the verdicts are carried out
}

const (
	registerLimit = 30 * time.Second // a conductor reads every record of this host from etcd
	verdictLimit  = time.Minute      // for one machine's destruction
	firstPause    = 100 * time.Millisecond
	longestPause  = 2 * time.Second // a host is missed for as long; conductors are few, so many hosts may come back at once
	// tombstonesTold bounds the registration to about 1 MB. Older deletes were told by earlier registrations, and every
	// tombstone of a machine that exists is told whatever its age.
	tombstonesTold = 10_000
)

// stayRegistered keeps the host lease until ctx ends.
func (a *Agent) stayRegistered(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		reg, err := a.register(ctx)
		if err == nil {
			pause = firstPause
			a.log.Info("registered", "host", a.host, "epoch", reg.epoch, "ttl", reg.ttl)
			err = a.renew(ctx, reg)
		}
		if ctx.Err() != nil {
			return
		}
		a.log.Warn("not registered, trying again", "host", a.host, "pause", pause, "error", err)
		sleep(ctx, jitter(pause))
		pause = min(2*pause, longestPause)
	}
}

// register does all that comes before the host is schedulable: epoch, verdicts, activation.
func (a *Agent) register(ctx context.Context) (*registration, error) {
	req, err := a.introduction(ctx)
	if err != nil {
		return nil, err
	}
	var resp *conductorv1.RegisterResponse
	err = a.conductors.ask(ctx, registerLimit, func(ctx context.Context, c conductorv1.ClusterClient) (err error) {
		resp, err = c.Register(ctx, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot register host %s: %w", a.host, err)
	}
	reg := &registration{
		epoch: resp.GetEpoch(), lease: resp.GetLease(), generation: resp.GetGeneration(), ttl: resp.GetTtl().AsDuration(),
	}
	if reg.epoch <= 0 || reg.ttl <= 0 {
		return nil, fmt.Errorf("cannot register host %s: epoch %d with a lease of %s makes no sense", a.host, reg.epoch, reg.ttl)
	}
	a.suspend(*reg)
	if err := a.book.commit("epoch", a.book.write(entry{Epoch: reg.epoch})); err != nil {
		return nil, err
	}
	quarantined, err := a.carryOut(ctx, resp.GetVerdicts())
	if err != nil {
		return nil, err
	}
	a.install(reg, quarantined)
	err = a.conductors.ask(ctx, registerLimit, func(ctx context.Context, c conductorv1.ClusterClient) error {
		_, err := c.Activate(ctx, &conductorv1.ActivateRequest{
			Host: string(a.host), Epoch: reg.epoch, Lease: reg.lease, DataDirId: req.GetDataDirId(),
			Address: req.GetAddress(),
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot activate host %s: %w", a.host, err)
	}
	return reg, nil
}

// suspend ends an older epoch or generation at once: a step under way is refused at its next driver call.
func (a *Agent) suspend(next registration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.registration; r != nil && r.epoch == next.epoch && r.generation == next.generation {
		return
	}
	next.pending = true
	a.registration = &next
}

func (a *Agent) install(reg *registration, quarantined map[vm.InstanceID]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.registration, a.quarantine = reg, quarantined
}

// introduction is who we are and what we have: machines, tombstones, and the fences that say how old our knowledge is.
func (a *Agent) introduction(ctx context.Context) (*conductorv1.RegisterRequest, error) {
	machines, err := a.driver.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the machines of host %s: %w", a.host, err)
	}
	id, epoch := a.book.identity()
	found := map[vm.InstanceID]*conductorv1.FoundMachine{}
	for _, m := range machines {
		found[m.ID] = &conductorv1.FoundMachine{
			InstanceId: string(m.ID), PowerState: string(m.PowerState), Unknown: m.Unknown,
		}
	}
	for _, i := range a.book.buriedLast(tombstonesTold) {
		if found[i] == nil {
			found[i] = &conductorv1.FoundMachine{InstanceId: string(i), PowerState: string(vm.PowerNoState)}
		}
	}
	for i, f := range found {
		fence, deleted := a.book.facts(i)
		f.FenceGeneration, f.FenceRevision, f.Tombstone = fence.Generation, fence.Revision, deleted
	}
	return &conductorv1.RegisterRequest{
		Host:          string(a.host),
		DataDirId:     id,
		BootId:        a.boot,
		Epoch:         epoch,
		Address:       a.address,
		Driver:        a.info.Driver,
		DriverVersion: a.info.Version,
		Vcpus:         int32(a.info.Capacity.VCPUs),
		MemoryMib:     int64(a.info.Capacity.MemoryMiB),
		DiskGib:       int64(a.info.Capacity.DiskGiB),
		Machines:      slices.SortedFunc(maps.Values(found), byInstance),
	}, nil
}

// renew heartbeats every third of the TTL, so that two may be lost, through whichever conductor answers. It returns when
// the lease is gone, or ctx ends.
func (a *Agent) renew(ctx context.Context, reg *registration) error {
	req := &conductorv1.HeartbeatRequest{Host: string(a.host), Epoch: reg.epoch, Lease: reg.lease}
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
		case answered(err):
			return fmt.Errorf("cannot renew the lease of host %s: %w", a.host, err)
		default:
			next = jitter(min(ttl/10, time.Second))
			a.log.Warn("no conductor renewed the host lease", "host", a.host, "conductors", a.conductors.String(), "error", err)
		}
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

// jitter is d with up to a quarter more or less, so that hosts that lost the same conductor do not return in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2))
}

// sleep says whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
