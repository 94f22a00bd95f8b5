package drivertest

import (
	"context"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// mode is how a story's calls are made.
type mode struct {
	name  string
	again bool // each call is made a second time
	fresh bool // by a successor, after a restart of the agent
}

var (
	once  = mode{name: "each call once"}
	modes = []mode{once, {name: "each call twice", again: true}, {name: "each call repeated by a successor", again: true, fresh: true}}
)

// host is one agent's driver on a directory of its own.
type host struct {
	Harness
	t    *testing.T
	mode mode
	dir  string
	d    drivers.Driver
}

func newHost(t *testing.T, h Harness, m mode) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "drv") //nolint:usetesting // it spells out the test's name; a socket's path ends at 107 bytes
	require.NoError(t, err)
	x := &host{Harness: h, t: t, mode: m, dir: dir, d: h.New(t, dir)}
	t.Cleanup(x.clear)
	return x
}

// clear destroys what a test left, so that a failed test leaves no process behind.
func (h *host) clear() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), Patience)
	defer cancel()
	list, err := h.d.List(ctx)
	if err != nil {
		h.t.Errorf("cannot list the machines left: %v", err)
	}
	for _, m := range list {
		if m.Unknown {
			continue
		}
		if err := h.d.Destroy(ctx, m.ID, func(vm.Progress) {}); err != nil {
			h.t.Errorf("cannot destroy %s at the end: %v", m.ID, err)
		}
	}
	if err := h.d.Close(); err != nil {
		h.t.Errorf("cannot close: %v", err)
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Errorf("cannot remove %s: %v", h.dir, err)
	}
}

// restart plays the agent's restart (I4).
func (h *host) restart() {
	h.t.Helper()
	require.NoError(h.t, h.d.Close())
	h.d = h.New(h.t, h.dir)
}

// once makes a call within Patience and checks its reports.
func (h *host) once(c call) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	return h.within(ctx, c)
}

// within makes a call whose reports must carry the seam's phases and must end with the call (I5).
func (h *host) within(ctx context.Context, c call) error {
	var ended atomic.Bool
	defer ended.Store(true)
	return c(ctx, h.d, func(p vm.Progress) {
		if ended.Load() {
			h.t.Error("a report came after its call had ended")
		}
		if !slices.Contains(phases, p.Phase) {
			h.t.Errorf("a report carries the unknown phase %q", p.Phase)
		}
		if slices.Contains(inBytes, p.Phase) && p.Done > 0 && p.Unit != "bytes" {
			h.t.Errorf("the phase %s is counted in %q, not in bytes", p.Phase, p.Unit)
		}
	})
}

var phases = []string{
	"image", "disk", "network", "volume", "spawn", "start", "stop", "destroy", "reboot", "pause", "unpause",
	"suspend", "resume", "rescue", "unrescue", "rebuild", "snapshot", "upload", "password",
}

// inBytes are the phases whose work is counted in bytes.
var inBytes = []string{"suspend", "snapshot", "upload"}

// must makes a call as often, and by as many agents, as the mode says (I1). Each must succeed.
func (h *host) must(c call) {
	h.t.Helper()
	require.NoError(h.t, h.once(c))
	if h.mode.fresh {
		h.restart()
	}
	if h.mode.again {
		require.NoError(h.t, h.once(c), "the second time")
	}
}

// prepared and started make a machine and bring it so far; a started one is ready to obey.
func (h *host) prepared() vm.InstanceID {
	h.t.Helper()
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	return s.ID
}

func (h *host) started() vm.InstanceID {
	h.t.Helper()
	id := h.prepared()
	require.NoError(h.t, h.once(start(id)))
	h.ready(id)
	return id
}

func (h *host) ready(id vm.InstanceID) {
	h.t.Helper()
	if h.Ready != nil {
		h.Ready(h.t, h.d, id)
	}
}
