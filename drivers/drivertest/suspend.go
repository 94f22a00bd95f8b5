package drivertest

import (
	"bytes"
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func suspendsAndResumes(h *host) {
	id := h.started()
	for range 2 { // what was resumed can be suspended again
		goesOn := h.remembers(id)
		h.must(suspend(id))
		h.wants(id, vm.PowerSuspended)
		h.must(resume(id))
		h.wants(id, vm.PowerRunning)
		goesOn()
	}
	h.must(destroy(id))
	h.gone(id)
}

// suspendedEnds also shows that memory that was given up does not come back.
func suspendedEnds(h *host) {
	id := h.started()
	h.must(suspend(id))
	h.must(stop(id, 0))
	h.wants(id, vm.PowerShutdown)
	require.ErrorIs(h.t, h.once(resume(id)), drivers.ErrNoMemory)
	h.must(start(id))
	h.wants(id, vm.PowerRunning)
	h.ready(id)
	h.must(suspend(id))
	h.must(destroy(id))
	h.gone(id)
}

func nothingToResume(h *host) {
	s := h.Spec(h.t)
	require.ErrorIs(h.t, h.once(suspend(s.ID)), drivers.ErrNoMachine)
	require.ErrorIs(h.t, h.once(resume(s.ID)), drivers.ErrNoMachine)
	require.NoError(h.t, h.once(prepare(s)))
	require.Error(h.t, h.once(suspend(s.ID)), "what is off has no memory to save")
	require.ErrorIs(h.t, h.once(resume(s.ID)), drivers.ErrNoMemory)
	h.idle(s.ID)
	require.NoError(h.t, h.once(start(s.ID)))
	require.NoError(h.t, h.once(stop(s.ID, 0)))
	require.Error(h.t, h.once(suspend(s.ID)))
	require.ErrorIs(h.t, h.once(resume(s.ID)), drivers.ErrNoMemory)
	h.wants(s.ID, vm.PowerShutdown)
}

// savedMemoryStays makes every call that has no business with saved memory, and restarts the agent.
func savedMemoryStays(h *host) {
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	h.ready(s.ID)
	goesOn := h.remembers(s.ID)
	require.NoError(h.t, h.once(suspend(s.ID)))
	for range 2 {
		require.Error(h.t, h.once(start(s.ID)), "a boot would lose the memory in silence")
		require.Error(h.t, h.once(reboot(s.ID, 0)))
		require.Error(h.t, h.once(reboot(s.ID, 100*time.Millisecond)))
		require.Error(h.t, h.once(pause(s.ID)))
		require.Error(h.t, h.once(unpause(s.ID)))
		require.NoError(h.t, h.once(prepare(s)))
		_ = h.once(interrupt(s.ID, true)) // nothing executes that it could end
		h.wants(s.ID, vm.PowerSuspended)
		require.Equal(h.t, []vm.InstanceID{s.ID}, h.listed())
		h.restart()
	}
	require.NoError(h.t, h.once(resume(s.ID)))
	h.wants(s.ID, vm.PowerRunning)
	goesOn()
}

// suspensionCutShort: wherever a call ended, the guest goes on with the memory it had.
func suspensionCutShort(h *host) {
	id := h.started()
	for _, after := range moments {
		goesOn := h.remembers(id)
		h.cut(after, id, suspend(id))
		h.wants(id, vm.PowerSuspended)
		h.cut(after, id, resume(id))
		h.wants(id, vm.PowerRunning)
		goesOn()
	}
}

// enough is a count that a guest does not reach soon after its boot: 18 ticks a second make it more than a second.
const enough = 20

// remembers looks at what the guest has in its memory. The returned func wants to find it there again: it would not be
// after a boot.
func (h *host) remembers(id vm.InstanceID) func() {
	h.t.Helper()
	boots := h.boots(id)
	var had uint64
	if h.Counter != nil {
		h.until("a guest that counts", func() bool {
			had = h.Counter(h.t, h.d, id)
			return had >= enough
		})
	}
	return func() {
		h.t.Helper()
		if h.Counter != nil {
			require.GreaterOrEqual(h.t, h.Counter(h.t, h.d, id), had, "the guest has forgotten")
		}
		require.LessOrEqual(h.t, h.boots(id), boots, "the guest has booted again")
	}
}

// boots counts the boots in the console's log, as far as there is one.
func (h *host) boots(id vm.InstanceID) int {
	h.t.Helper()
	c, ok := h.d.(drivers.Consoler)
	if !ok || h.Console == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	log, err := c.ConsoleLog(ctx, id, 1<<16)
	require.NoError(h.t, err)
	return bytes.Count(log, []byte(h.Console.Banner))
}
