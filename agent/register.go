package agent

import (
	"context"
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
)

// stayRegistered keeps the host lease until ctx ends.
func (a *Agent) stayRegistered(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		reg, err := a.register(ctx)
		if err == nil {
			pause = firstPause
			a.log.Info("registered", "host", a.host, "epoch", reg.epoch, "generation", reg.generation, "ttl", reg.ttl)
			a.retell()
			err = a.renew(ctx, reg, false)
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
	quarantined, err := a.obey(ctx, reg, resp)
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

// obey does what the conductor decided about what is here, and returns the machines that are quarantined. However long it
// takes, the lease is kept meanwhile.
func (a *Agent) obey(ctx context.Context, reg *registration, resp *conductorv1.RegisterResponse) (map[vm.InstanceID]string, error) {
	defer a.renewBeside(ctx, reg)()
	quarantined, err := a.carryOut(ctx, resp.GetVerdicts())
	if err == nil {
		a.dropOrphans(ctx, resp.GetDropImages())
	}
	return quarantined, err
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
	if !isClosed(a.registered) {
		close(a.registered)
	}
}

// introduction is who we are and what we have: images, and machines, with the fences that say how old our knowledge is, and
// whether they were deleted. A tombstone without a machine is not told: there is nothing to judge, and they only grow in number.
func (a *Agent) introduction(ctx context.Context) (*conductorv1.RegisterRequest, error) {
	machines, err := a.driver.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the machines of host %s: %w", a.host, err)
	}
	id, epoch := a.book.identity()
	found := map[vm.InstanceID]*conductorv1.FoundMachine{}
	for _, m := range machines {
		fence, deleted := a.book.facts(m.ID)
		found[m.ID] = &conductorv1.FoundMachine{
			InstanceId: string(m.ID), PowerState: string(m.PowerState), Unknown: m.Unknown, Tombstone: deleted,
			FenceGeneration: fence.Generation, FenceRevision: fence.Revision,
		}
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
		PublicKey:     a.key.Public(),
		Powers:        a.info.Powers,
		Images:        a.imagesHere(ctx),
	}, nil
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
