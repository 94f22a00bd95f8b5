package qemu

import (
	"context"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// startWatching watches the machine until it is destroyed or the driver closed.
func (m *machine) startWatching() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unwatch != nil {
		return
	}
	ctx, cancel := context.WithCancel(m.d.ctx)
	m.unwatch = cancel
	m.d.wg.Go(func() { m.watch(ctx) })
}

// watch tells what the machine does by itself. Monitor events only wake it: what is told is what QEMU or exit.json says
// when asked, so that a burst of events or a lost connection changes nothing.
func (m *machine) watch(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := m.main.get(ctx)
		m.tell(ctx)
		if err != nil { // it is off, or we are closing
			select {
			case <-m.kick:
			case <-ctx.Done():
			}
			continue
		}
		for alive := true; alive; {
			select {
			case <-m.kick:
				m.tell(ctx)
			case <-c.Done():
				alive = false
			case <-ctx.Done():
				return
			}
		}
	}
}

// tell sends an event when the machine has another power state than was last known, and no call has brought that about.
// While a call is under way nothing is told: the call's end wakes the watcher again.
func (m *machine) tell(ctx context.Context) {
	turn, busy := m.now()
	if busy {
		return
	}
	s, err := m.status(ctx)
	if err != nil || s.power == vm.PowerNoState {
		return
	}
	if m.learn(turn, s.power) {
		m.d.log.Info("machine changed by itself", "instance", m.id, "power_state", s.power, "detail", s.word)
		m.d.hub.send(drivers.Event{ID: m.id, PowerState: s.power, Detail: s.word, At: time.Now()})
	}
}

func (m *machine) now() (turn uint64, busy bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.turn, len(m.calls) > 0
}

// learn says whether p is news. What was asked before another call began is out of date. The first look at a machine
// that was here before the driver is no news.
func (m *machine) learn(turn uint64, p vm.PowerState) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if turn != m.turn || p == m.known {
		return false
	}
	first := m.known == ""
	m.known = p
	return !first
}
