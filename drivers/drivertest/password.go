package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// user is whose password is set: every guest has that one.
const user = "root"

func passwordIsSet(h *host) {
	s := h.Agent.With(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.answers(s.ID)
	for _, password := range []string{"correct horse", "batteries: \"included\"\\"} {
		h.must(setPassword(s.ID, password))
		h.wants(s.ID, vm.PowerRunning)
		if h.Agent.Knows != nil {
			require.True(h.t, h.Agent.Knows(h.t, h.d, s.ID, user, password))
			require.False(h.t, h.Agent.Knows(h.t, h.d, s.ID, user, password+"x"))
		}
	}
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

// agentIsOff: an agent answers only while its guest executes.
func agentIsOff(h *host) {
	s := h.Agent.With(h.t)
	require.ErrorIs(h.t, h.once(setPassword(s.ID, "x")), drivers.ErrNoMachine)
	require.NoError(h.t, h.once(prepare(s)))
	require.ErrorIs(h.t, h.once(setPassword(s.ID, "x")), drivers.ErrNoAgent)
	h.idle(s.ID)
	require.NoError(h.t, h.once(start(s.ID)))
	h.answers(s.ID)
	require.NoError(h.t, h.once(setPassword(s.ID, "before")))
	if has[drivers.Pauser](h.d) {
		require.NoError(h.t, h.once(pause(s.ID)))
		require.ErrorIs(h.t, h.once(setPassword(s.ID, "x")), drivers.ErrNoAgent)
		h.wants(s.ID, vm.PowerPaused)
		require.NoError(h.t, h.once(unpause(s.ID)))
	}
	if h.Agent.Knows != nil {
		require.True(h.t, h.Agent.Knows(h.t, h.d, s.ID, user, "before"))
	}
	require.NoError(h.t, h.once(stop(s.ID, 0)))
	require.ErrorIs(h.t, h.once(setPassword(s.ID, "x")), drivers.ErrNoAgent)
	h.wants(s.ID, vm.PowerShutdown)
}

func noAgent(h *host) {
	s := h.Agent.Without(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	began := time.Now()
	require.ErrorIs(h.t, h.once(setPassword(s.ID, "x")), drivers.ErrNoAgent)
	require.Less(h.t, time.Since(began), Patience/2, "a guest without an agent is not waited for")
	h.wants(s.ID, vm.PowerRunning)
	if h.Agent.Knows != nil {
		require.False(h.t, h.Agent.Knows(h.t, h.d, s.ID, user, "x"))
	}
}

// answers waits until the guest's agent does.
func (h *host) answers(id vm.InstanceID) {
	h.t.Helper()
	if h.Agent.Up != nil {
		h.Agent.Up(h.t, h.d, id)
	}
}
