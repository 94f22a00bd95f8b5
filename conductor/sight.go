package conductor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/coord"
	"leasehold/liveness"
	"leasehold/vm"
)

// settleFor is how long an observation rests before it is compared with the record: a change that a task made itself
// arrives as an event before the task's last transaction is seen, and then writes nothing.
const settleFor = 250 * time.Millisecond

// watchHosts follows what every living host sees. One conductor follows each host, by rank; the others stand by.
func (c *Conductor) watchHosts(ctx context.Context) error {
	following := map[vm.HostName]context.CancelFunc{}
	var group sync.WaitGroup
	defer group.Wait()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		changed := c.hosts.changed()
		mine, living := map[vm.HostName]bool{}, map[string]bool{}
		session, serving := c.keeper.Current(), c.members.Serving()
		for _, a := range c.members.Computes() {
			living[a.Address] = true
			if session != nil && liveness.Rank("host/"+string(a.Name), c.cfg.Name, serving) == 0 {
				mine[a.Name] = true
			}
		}
		c.agents.keep(living, time.Now())
		for host, stop := range following {
			if !mine[host] {
				stop()
				delete(following, host)
			}
		}
		for host := range mine {
			if following[host] != nil {
				continue
			}
			hctx, stop := context.WithCancel(ctx)
			following[host] = stop
			group.Go(func() { c.follow(hctx, host) })
		}
		select {
		case <-ctx.Done():
			for _, stop := range following {
				stop()
			}
			return context.Cause(ctx)
		case <-changed:
		case <-tick.C:
		}
	}
}

// follow receives one host's observations until ctx ends, over as many streams as it takes.
func (c *Conductor) follow(ctx context.Context, host vm.HostName) {
	for ctx.Err() == nil {
		err := c.followOnce(ctx, host)
		if ctx.Err() == nil {
			c.log.Debug("events of a host ended", "host", host, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (c *Conductor) followOnce(ctx context.Context, host vm.HostName) error {
	alive, ok := c.hosts.alive(host)
	if !ok {
		return errUnreachable
	}
	agent, err := c.agents.client(alive.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := agent.Events(ctx, &computev1.EventsRequest{})
	if err != nil {
		cancel()
		return err
	}
	seen := make(chan *computev1.Observation, 256)
	received := make(chan error, 1)
	var receiver sync.WaitGroup
	receiver.Go(func() {
		for {
			o, err := stream.Recv()
			if err != nil {
				received <- err
				return
			}
			select {
			case seen <- o:
			case <-ctx.Done():
				return
			}
		}
	})
	defer receiver.Wait()
	defer cancel()
	resting := map[vm.InstanceID]*computev1.Observation{}
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-received:
			return err
		case o := <-seen:
			resting[vm.InstanceID(o.GetInstanceId())] = o
			if due == nil {
				due = time.After(settleFor)
			}
		case <-due:
			due = nil
			for _, id := range slices.Collect(maps.Keys(resting)) {
				if c.note(ctx, host, id, resting[id]) {
					delete(resting, id)
				}
			}
			if len(resting) > 0 {
				due = time.After(settleFor)
			}
		}
	}
}

// note writes an observation when it says something new of an idle instance of this host. It returns false while a task
// has the instance: then the task decides, and the observation is compared again after it.
func (c *Conductor) note(ctx context.Context, host vm.HostName, id vm.InstanceID, seen *computev1.Observation) bool {
	in, e, ok := coord.Load[vm.Instance](c.cache, c.keys.Instance(id))
	if !ok || in.Host != host {
		return true
	}
	if in.Task != "" {
		return false
	}
	now := observed(id, host, seen, time.Now().UTC())
	key := c.keys.Observed(id)
	was, we, known := coord.Load[vm.Observed](c.cache, key)
	mod := int64(0)
	if known {
		mod = we.Mod
		same := was.PowerState == now.PowerState && was.Detail == now.Detail && was.Host == now.Host
		if same || !now.Newer(*was) {
			return true
		}
	}
	t := &coord.Txn{Name: "observe"}
	t.If(coord.Unchanged(e.Key, e.Mod), coord.Unchanged(key, mod))
	t.Then(coord.Put(key, now).Witness())
	_, err := c.store.Commit(ctx, t)
	if _, conflict := errors.AsType[*coord.ConflictError](err); conflict {
		return false
	}
	if err != nil {
		c.log.Warn("cannot record an observation", "instance", id, "error", err)
		return false
	}
	c.log.Info("machine changed by itself", "instance", id, "host", host, "power_state", now.PowerState, "detail", now.Detail)
	return true
}
