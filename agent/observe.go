package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

// lookLimit bounds a look at a machine after its step: Inspect answers within about a second, whatever hangs.
const lookLimit = 5 * time.Second

// observe asks the hypervisor. Looks at one machine come one after another and take their number before they look, so a
// higher number never tells of an earlier time.
func (a *Agent) observe(ctx context.Context, id vm.InstanceID) (*computev1.Observation, error) {
	unlock, err := a.looks.lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	n := a.nextSequence()
	m, err := a.driver.Inspect(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("cannot inspect instance %s: %w", id, err)
	}
	m.ID = id
	return a.observation(m, n), nil
}

// mustObserve is for answers that have to say something.
func (a *Agent) mustObserve(ctx context.Context, id vm.InstanceID) *computev1.Observation {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit)
	defer cancel()
	obs, err := a.observe(ctx, id)
	if err != nil {
		return a.unseen(id, err)
	}
	return obs
}

// unseen is the observation of what was not or could not be looked at. It is never said to be gone.
func (a *Agent) unseen(id vm.InstanceID, why error) *computev1.Observation {
	return a.observation(drivers.Machine{
		ID: id, Exists: true, Unknown: true, PowerState: vm.PowerNoState, Detail: why.Error(),
	}, a.nextSequence())
}

// observeAll lists what is on the host.
func (a *Agent) observeAll(ctx context.Context) ([]*computev1.Observation, error) {
	n := a.nextSequence()
	machines, err := a.driver.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the machines of host %s: %w", a.host, err)
	}
	all := make([]*computev1.Observation, len(machines))
	for i, m := range machines {
		all[i] = a.observation(m, n)
	}
	return all, nil
}

func (a *Agent) observation(m drivers.Machine, sequence int64) *computev1.Observation {
	fence, deleted := a.book.facts(m.ID)
	epoch, quarantined := a.standing(m.ID)
	power := m.PowerState
	if power == "" {
		power = vm.PowerNoState
	}
	return &computev1.Observation{
		InstanceId: string(m.ID),
		Exists:     m.Exists,
		PowerState: string(power),
		Detail:     legible(m.Detail),
		Disks:      m.Disks,
		Ports:      m.Ports,
		Unknown:    m.Unknown || quarantined,
		Fence:      fenceToken(fence),
		Sequence:   sequence,
		HostEpoch:  epoch,
		Tombstone:  deleted,
		SeenAt:     timestamppb.Now(),
		Rescue:     string(m.Rescue),
	}
}

// standing is the epoch of the host, 0 while it has none, and whether the instance is quarantined.
func (a *Agent) standing(id vm.InstanceID) (epoch int64, quarantined bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.registration != nil {
		epoch = a.registration.epoch
	}
	return epoch, a.quarantine[id] != ""
}

// nextSequence grows over restarts too, because an epoch outlives the agent: the count of processes is its upper part.
// 2^40 looks for each of 2^23 processes.
func (a *Agent) nextSequence() int64 {
	return a.process<<40 + a.counted.looks.Add(1)
}
