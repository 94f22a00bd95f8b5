package agent

import (
	"context"
	"sync"
	"time"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

// hub gives each subscriber what was seen. A slow subscriber loses intermediate states of a machine, never the last one,
// and delays nobody.
type hub struct {
	mu   sync.Mutex
	subs map[*subscription]struct{}
}

// subscription is what one subscriber has not taken yet: at most one observation for each machine, in order of arrival.
type subscription struct {
	ready chan struct{} // has a token while something waits

	mu    sync.Mutex
	order []vm.InstanceID
	news  map[vm.InstanceID]*computev1.Observation
	sent  map[vm.InstanceID]int64 // sequence of the newest taken: what is older is not news. Of machines that are there
}

func (h *hub) subscribe() *subscription {
	s := &subscription{
		ready: make(chan struct{}, 1),
		news:  map[vm.InstanceID]*computev1.Observation{},
		sent:  map[vm.InstanceID]int64{},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[*subscription]struct{}{}
	}
	h.subs[s] = struct{}{}
	return s
}

func (h *hub) unsubscribe(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

func (h *hub) publish(obs *computev1.Observation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.put(obs)
	}
}

func (s *subscription) put(obs *computev1.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := vm.InstanceID(obs.GetInstanceId())
	old, waits := s.news[id]
	if obs.GetSequence() <= max(s.sent[id], old.GetSequence()) {
		return
	}
	if !waits {
		s.order = append(s.order, id)
	}
	s.news[id] = obs
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// take returns what waits, oldest first. A machine that is gone is forgotten with it: what is published comes in order from
// one goroutine, and whoever takes has put the beginning before, so nothing older comes after.
func (s *subscription) take() []*computev1.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*computev1.Observation, 0, len(s.order))
	for _, id := range s.order {
		obs := s.news[id]
		all = append(all, obs)
		if obs.GetExists() {
			s.sent[id] = obs.GetSequence()
		} else {
			delete(s.sent, id)
		}
	}
	s.order = s.order[:0]
	clear(s.news)
	return all
}

// told is the machines that any subscriber has been told of and knows to be there.
func (h *hub) told() map[vm.InstanceID]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[vm.InstanceID]bool{}
	for s := range h.subs {
		s.mu.Lock()
		for id := range s.sent {
			all[id] = true
		}
		s.mu.Unlock()
	}
	return all
}

func (h *hub) deserted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs) == 0
}

// watch turns what the driver says into observations until ctx ends. An event is a hint, and heard looks at the machine
// itself, so the order and number of events do not matter. After each registration every machine is told again: what was
// seen before it carries another epoch, or none, and may have been ignored as older. Now and then they are told again
// anyway, and a loss that nobody noticed is made good.
func (a *Agent) watch(ctx context.Context) {
	events := a.driver.Events(ctx)
	again := time.NewTimer(jitter(a.resync)) // hosts that were started together do not look together
	defer again.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			if e.Lost {
				a.publishAll(ctx, "the driver lost events")
			}
			if e.ID != "" {
				a.hub.publish(a.heard(ctx, e))
			}
		case <-a.retold:
			a.publishAll(ctx, "the host registered")
		case <-again.C:
			if !a.hub.deserted() { // who comes later is told everything then
				a.publishAll(ctx, "events may have been lost")
			}
			again.Reset(jitter(a.resync))
		}
	}
}

// heard is what an event leads to: a look at the machine, except when the news is that it does not answer. Asking it once
// more would only take as long again; when it answers there is another event.
func (a *Agent) heard(ctx context.Context, e drivers.Event) *computev1.Observation {
	if e.PowerState != vm.PowerNoState {
		return a.mustObserve(ctx, e.ID)
	}
	return a.observation(drivers.Machine{ID: e.ID, Exists: true, PowerState: e.PowerState, Detail: e.Detail}, a.nextSequence())
}

// retell has every machine published again, soon: a registration does not wait for hypervisors.
func (a *Agent) retell() {
	select {
	case a.retold <- struct{}{}:
	default: // it is about to be done
	}
}

// publishAll costs one list of the host. What was told of and is not in it is looked at by itself: that a machine is gone
// makes no event.
func (a *Agent) publishAll(ctx context.Context, why string) {
	missing := a.hub.told()
	all, err := a.observeAll(ctx)
	if err != nil {
		a.log.Warn("cannot publish every machine", "why", why, "error", err)
		return
	}
	for _, obs := range all {
		delete(missing, vm.InstanceID(obs.GetInstanceId()))
		a.hub.publish(obs)
	}
	for id := range missing {
		a.hub.publish(a.mustObserve(ctx, id))
	}
}
