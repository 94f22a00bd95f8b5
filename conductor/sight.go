package conductor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/coord"
	"leasehold/fsm"
	"leasehold/liveness"
	"leasehold/tasks"
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
		c.tendHosts(ctx, serving)
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
	missing, err := c.missing(ctx, host, agent)
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
	resting := missing
	due := time.After(settleFor)
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

// missing looks at what the records say is on the host and its list does not have: a machine that is gone makes no event.
func (c *Conductor) missing(ctx context.Context, host vm.HostName, agent computev1.ComputeClient) (map[vm.InstanceID]*computev1.Observation, error) {
	list, err := agent.List(ctx, &computev1.ListRequest{})
	if err != nil {
		return nil, err
	}
	there := map[vm.InstanceID]bool{}
	for _, o := range list.GetMachines() {
		there[vm.InstanceID(o.GetInstanceId())] = true
	}
	missing := map[vm.InstanceID]*computev1.Observation{}
	for _, in := range coord.All[vm.Instance](c.cache, coord.Instances) {
		if in.Host != host || in.Task != "" || there[in.ID] {
			continue
		}
		if missing[in.ID], err = agent.Observe(ctx, &computev1.ObserveRequest{InstanceId: string(in.ID)}); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// note writes an observation when it says something new of an idle instance of this host, with what follows from it by the
// rules. It returns false while a task has the instance: then the task decides, and the observation is compared again after
// it.
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
	rule := fsm.OnPower(in.State, now.PowerState)
	switch {
	case !seen.GetExists():
		rule = fsm.OnGone(in.State)
	case known && now.Epoch > was.Epoch && was.Host == now.Host:
		rule = fsm.OnHostBoot(in.State, now.PowerState, in.OnHostBoot)
	}
	if rule.Does == fsm.Correct {
		return c.putRight(ctx, in, now, rule)
	}
	t := &coord.Txn{Name: "observe"}
	t.If(c.generation().guard, coord.Unchanged(e.Key, e.Mod), coord.Unchanged(key, mod))
	t.Then(coord.Put(key, now).Witness())
	if rule.Does == fsm.Follow {
		next := in.Clone()
		tasks.Follow(next, rule, now, now.SeenAt)
		t.Then(coord.Put(e.Key, next))
	}
	_, err := c.store.Commit(ctx, t)
	if _, conflict := errors.AsType[*coord.ConflictError](err); conflict {
		return false
	}
	if err != nil {
		c.log.Warn("cannot record an observation", "instance", id, "error", err)
		return false
	}
	c.log.Info("machine changed by itself", "instance", id, "host", host, "power_state", now.PowerState, "detail", now.Detail,
		"does", rule.Does, "vm_state", rule.To)
	return true
}

// putRight admits the task that a rule asks for. The observation is not recorded: the task's end does that and, should this
// conductor die before it has admitted, the next one sees the same and comes to the same. The key makes it one task for one
// sight.
func (c *Conductor) putRight(ctx context.Context, in *vm.Instance, seen vm.Observed, rule fsm.Aftersight) bool {
	o := Order{
		Verb: rule.Verb, Mode: rule.Mode, Project: in.Project, Instance: in.ID, By: byLeasehold,
		Key: fmt.Sprintf("leasehold:%s:%d:%s:%d", in.ID, seen.Epoch, seen.Fence, seen.Sequence),
	}
	switch rule.Verb {
	case vm.Stop:
		o.Params = tasks.StopParams{Grace: defaultGrace}
	case vm.Reboot:
		o.Params = tasks.RebootParams{Hard: true}
	default:
	}
	log := c.log.With("instance", in.ID, "host", seen.Host, "power_state", seen.PowerState, "verb", rule.Verb, "why", rule.Why)
	out, err := c.Admit(ctx, o)
	switch {
	case err == nil:
		log.Info("putting a machine right", "task", out.Task.ID)
		return true
	case vm.ReasonOf(err) == vm.ReasonStateForbids, vm.ReasonOf(err) == vm.ReasonNotFound:
		log.Info("a machine need not be put right any more", "error", err)
		return true
	default:
		log.Debug("cannot put a machine right yet", "error", err)
		return false
	}
}

// byLeasehold is who asks for what no person asked for.
const byLeasehold = "leasehold"
