package agent_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

// hypervisor is the simulated one, with a record of its calls and calls that can be made deaf: to their context, and to
// Interrupt. The agent must be right without the courtesy of a driver.
type hypervisor struct {
	*sim.Driver

	mu         sync.Mutex
	calls      []string
	interrupts []string
	deaf       map[string]*deafness
	lost       chan drivers.Event
	chatter    int  // reports that each Start makes
	lingers    bool // Prepare succeeds when it is cancelled, and not before
	lists      int
	powers
}

type deafness struct {
	entered chan struct{} // has a token for each call that hangs
	open    chan struct{}
	cured   bool // by Interrupt
	once    sync.Once
}

func (d *deafness) end() { d.once.Do(func() { close(d.open) }) }

func newHypervisor(t *testing.T) *hypervisor {
	t.Helper()
	d, err := sim.New(sim.Config{Host: "h1", Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return &hypervisor{Driver: d, deaf: map[string]*deafness{}, lost: make(chan drivers.Event), powers: newPowers()}
}

// hang makes calls of that name hang and ignore their context, until Interrupt when cured says so, or heal.
func (h *hypervisor) hang(call string, cured bool) *deafness {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &deafness{entered: make(chan struct{}, 10), open: make(chan struct{}), cured: cured}
	h.deaf[call] = d
	return d
}

func (h *hypervisor) releaseAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for call, d := range h.deaf {
		d.end()
		delete(h.deaf, call)
	}
}

func (h *hypervisor) set(change func(*hypervisor)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

func (h *hypervisor) enter(call string) {
	h.mu.Lock()
	h.calls = append(h.calls, call)
	d := h.deaf[call]
	h.mu.Unlock()
	if d != nil {
		d.entered <- struct{}{}
		<-d.open
	}
}

// made is the calls so far.
func (h *hypervisor) made() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.calls...)
}

func (h *hypervisor) Prepare(ctx context.Context, s drivers.Spec, r drivers.Report) error {
	h.enter("prepare")
	h.mu.Lock()
	lingers := h.lingers
	h.mu.Unlock()
	if !lingers {
		return h.Driver.Prepare(ctx, s, r)
	}
	err := h.Driver.Prepare(context.WithoutCancel(ctx), s, r)
	<-ctx.Done()
	return err
}

// Start ignores its context: a hypervisor may have been told already when it ends.
func (h *hypervisor) Start(ctx context.Context, id vm.InstanceID, r drivers.Report) error {
	h.enter("start")
	h.mu.Lock()
	chatter := h.chatter
	h.mu.Unlock()
	for i := range chatter {
		r(vm.Progress{Phase: "spawn", Done: int64(i + 1), Total: int64(chatter)})
	}
	return h.Driver.Start(context.WithoutCancel(ctx), id, r)
}

func (h *hypervisor) Stop(ctx context.Context, id vm.InstanceID, grace time.Duration, r drivers.Report) error {
	h.enter("stop")
	return h.Driver.Stop(ctx, id, grace, r)
}

func (h *hypervisor) Destroy(ctx context.Context, id vm.InstanceID, r drivers.Report) error {
	h.enter("destroy")
	h.set(func(h *hypervisor) { h.clear(id) })
	return h.Driver.Destroy(ctx, id, r)
}

func (h *hypervisor) Pause(ctx context.Context, id vm.InstanceID, r drivers.Report) error {
	h.enter("pause")
	return h.Driver.Pause(ctx, id, r)
}

func (h *hypervisor) Interrupt(ctx context.Context, id vm.InstanceID, kill bool) error {
	h.mu.Lock()
	word := "interrupt"
	if kill {
		word = "kill"
	}
	h.interrupts = append(h.interrupts, word)
	for _, d := range h.deaf {
		if d.cured {
			d.end()
		}
	}
	h.mu.Unlock()
	return h.Driver.Interrupt(ctx, id, kill)
}

// Events are the simulated ones and what the test puts into lost.
func (h *hypervisor) Events(ctx context.Context) <-chan drivers.Event {
	out := make(chan drivers.Event)
	go func() {
		defer close(out)
		in := h.Driver.Events(ctx)
		for {
			var e drivers.Event
			var ok bool
			select {
			case e, ok = <-in:
				if !ok {
					return
				}
			case e = <-h.lost:
			case <-ctx.Done():
				return
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (h *hypervisor) interrupted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.interrupts...)
}
