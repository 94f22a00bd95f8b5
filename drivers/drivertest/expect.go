package drivertest

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// inspect asks once.
func (h *host) inspect(id vm.InstanceID) drivers.Machine {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	m, err := h.d.Inspect(ctx, id)
	require.NoError(h.t, err)
	require.Equal(h.t, id, m.ID)
	return m
}

// wants says which power state the last call has reached. A hypervisor too busy to answer (nostate) is asked again; any
// other word is wrong at once.
func (h *host) wants(id vm.InstanceID, want vm.PowerState) {
	h.t.Helper()
	var m drivers.Machine
	h.until("an answer of the hypervisor", func() bool {
		m = h.inspect(id)
		return m.PowerState != vm.PowerNoState || !m.Exists
	})
	require.True(h.t, m.Exists, "%s does not exist", id)
	require.Equal(h.t, want, m.PowerState, m.Detail)
}

// becomes waits for a power state that the machine takes by itself.
func (h *host) becomes(id vm.InstanceID, want vm.PowerState) {
	h.t.Helper()
	h.until("power state "+string(want), func() bool { return h.inspect(id).PowerState == want })
}

// idle says that the machine is here and does not execute.
func (h *host) idle(id vm.InstanceID) {
	h.t.Helper()
	m := h.inspect(id)
	require.True(h.t, m.Exists, "%s does not exist", id)
	require.NotEqual(h.t, vm.PowerRunning, m.PowerState, m.Detail)
}

// off says that the machine is here and has ended: not even its memory is kept.
func (h *host) off(id vm.InstanceID) {
	h.t.Helper()
	m := h.inspect(id)
	require.True(h.t, m.Exists, "%s does not exist", id)
	require.Contains(h.t, []vm.PowerState{vm.PowerShutdown, vm.PowerCrashed}, m.PowerState, m.Detail)
}

// gone says that nothing of the machine is left, neither asked by its id nor listed.
func (h *host) gone(id vm.InstanceID) {
	h.t.Helper()
	m := h.inspect(id)
	require.False(h.t, m.Exists, "%s still exists", id)
	require.Contains(h.t, []vm.PowerState{vm.PowerNoState, ""}, m.PowerState)
	require.NotContains(h.t, h.listed(), id)
}

// listed is the sorted ids of List.
func (h *host) listed() []vm.InstanceID {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	list, err := h.d.List(ctx)
	require.NoError(h.t, err)
	ids := []vm.InstanceID{}
	for _, m := range list {
		require.True(h.t, m.Exists, "%s is listed and does not exist", m.ID)
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

// until polls what has no event.
func (h *host) until(what string, met func() bool) {
	h.t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(h.t, "waited in vain for "+what)
		}
	}
}

// ends waits for the result of a call that runs beside the test.
func (h *host) ends(result <-chan error) error {
	h.t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(Patience):
		require.FailNow(h.t, "the call does not end")
		return nil
	}
}

// beside makes a call in a goroutine. Whoever starts it waits for it with ends.
func (h *host) beside(ctx context.Context, c call) <-chan error {
	result := make(chan error, 1)
	go func() { result <- h.within(ctx, c) }()
	return result
}
