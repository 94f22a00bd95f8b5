package qemu

import (
	"context"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// A hypervisor that stops answering is noticed within beat + late, 1.6 s: with what agent and conductor add it is seen in the
// record within 2 s. It is asked no more than once in
// beat, and not again before it has answered: what it has not read lies in its socket.
const (
	beat = 800 * time.Millisecond
	late = 800 * time.Millisecond
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
// when asked, so that a burst of events or a lost connection changes nothing. A machine without a process does nothing.
func (m *machine) watch(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	overdue := time.NewTimer(late)
	defer overdue.Stop()
	var events, pulse <-chan struct{}
	m.tell(ctx)
	for ctx.Err() == nil {
		var next <-chan time.Time
		if alive, _ := m.alive(); alive {
			if next = tick.C; events == nil {
				events = m.listen(ctx)
			}
		}
		select {
		case <-m.kick:
			m.tell(ctx)
		case <-events:
			events = nil
			m.tell(ctx)
		case <-next:
			if pulse == nil {
				pulse = m.feel(ctx)
				overdue.Reset(late)
			}
		case <-pulse:
			if pulse = nil; m.lastKnown() == vm.PowerNoState {
				m.tell(ctx)
			}
		case <-overdue.C:
			if pulse != nil {
				m.tellSilence()
			}
		case <-ctx.Done():
		}
	}
}

// listen keeps the connection over which events come. The channel is closed when it has ended, or there is no process.
func (m *machine) listen(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	m.d.wg.Go(func() {
		defer close(ended)
		c, err := m.main.get(ctx)
		if err != nil {
			return
		}
		m.wake() // what happened before it
		select {
		case <-c.Done():
		case <-ctx.Done():
		}
	})
	return ended
}

// feel asks the hypervisor once. The channel is closed when it has answered, whatever it takes, or has ended.
func (m *machine) feel(ctx context.Context) <-chan struct{} {
	answered := make(chan struct{})
	m.d.wg.Go(func() {
		defer close(answered)
		_, _ = m.side.word(ctx) // that it answers is all
	})
	return answered
}

// tell sends an event when the machine has another power state than was last known, and no call has brought that about.
// While a call is under way nothing is told: the call's end wakes the watcher again.
func (m *machine) tell(ctx context.Context) {
	turn, busy := m.now()
	if busy {
		return
	}
	if s, err := m.status(ctx); err == nil {
		m.news(turn, s)
	}
}

// tellSilence is tell for a hypervisor that was asked and has not answered.
func (m *machine) tellSilence() {
	turn, busy := m.now()
	if alive, err := m.alive(); busy || err != nil || !alive {
		return
	}
	m.news(turn, status{vm.PowerNoState, errSilent.Error()})
}

func (m *machine) news(turn uint64, s status) {
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

func (m *machine) lastKnown() vm.PowerState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known
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
