package agent

import (
	"context"
	"sync"

	computev1 "leasehold/api/compute/v1"
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
	sent  map[vm.InstanceID]int64 // sequence of the newest taken: what is older is not news
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

// take returns what waits, oldest first. A machine that is gone is forgotten with it.
func (s *subscription) take() []*computev1.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*computev1.Observation, 0, len(s.order))
	for _, id := range s.order {
		obs := s.news[id]
		all = append(all, obs)
		s.sent[id] = obs.GetSequence()
	}
	s.order = s.order[:0]
	clear(s.news)
	return all
}

// watch turns what the driver says into observations until ctx ends. An event is a hint: the machine is asked itself, so
// the order and number of events do not matter.
func (a *Agent) watch(ctx context.Context) {
	for e := range a.driver.Events(ctx) {
		if e.Lost {
			a.publishAll(ctx)
		}
		if e.ID == "" {
			continue
		}
		a.hub.publish(a.mustObserve(ctx, e.ID))
	}
}

func (a *Agent) publishAll(ctx context.Context) {
	all, err := a.observeAll(ctx)
	if err != nil {
		a.log.Warn("cannot make up for lost events", "error", err)
		return
	}
	for _, obs := range all {
		a.hub.publish(obs)
	}
}
