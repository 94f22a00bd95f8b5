package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/vm"
)

func interruptIdle(h *host) {
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(interrupt(s.ID, false)), "of nothing")
	require.NoError(h.t, h.once(interrupt(s.ID, true)), "of nothing, with kill")
	h.gone(s.ID)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	require.NoError(h.t, h.once(interrupt(s.ID, false)))
	h.wants(s.ID, vm.PowerRunning)
	require.NoError(h.t, h.once(stop(s.ID, 0)), "a call after the interrupt is not interrupted")
	h.wants(s.ID, vm.PowerShutdown)
}

func interruptKills(h *host) {
	id := h.started()
	require.NoError(h.t, h.once(interrupt(id, true)))
	h.off(id)
	require.NoError(h.t, h.once(interrupt(id, true)))
	h.restart()
	h.off(id)
	require.NoError(h.t, h.once(start(id)), "a killed machine is started anew")
	h.wants(id, vm.PowerRunning)
	require.NoError(h.t, h.once(destroy(id)))
	h.gone(id)
}

func hangEndsWithContext(h *host) {
	id := h.started()
	h.Hang(h.t, h.d, id)
	ctx, cancel := context.WithTimeout(h.t.Context(), 200*time.Millisecond)
	defer cancel()
	require.Error(h.t, h.ends(h.beside(ctx, pause(id))))
	require.True(h.t, h.inspect(id).Exists)
	require.NoError(h.t, h.once(destroy(id)))
	h.gone(id)
}

// hangEndsByInterrupt repeats the interrupt until the call has ended, because it may come before the call has begun.
func hangEndsByInterrupt(h *host) {
	id := h.started()
	h.Hang(h.t, h.d, id)
	result := h.beside(h.t.Context(), pause(id))
	var err error
	h.until("the end of the hung call", func() bool {
		require.NoError(h.t, h.once(interrupt(id, false)))
		select {
		case err = <-result:
			return true
		default:
			return false
		}
	})
	require.Error(h.t, err)
	require.NoError(h.t, h.once(interrupt(id, true)))
	h.off(id)
	require.NoError(h.t, h.once(destroy(id)))
	h.gone(id)
}

func hangDelaysOnlyItself(h *host) {
	hung, other := h.started(), h.Spec(h.t)
	h.Hang(h.t, h.d, hung)
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	result := h.beside(ctx, pause(hung))
	for _, c := range []call{prepare(other), start(other.ID), stop(other.ID, 0), destroy(other.ID)} {
		require.NoError(h.t, h.once(c))
	}
	h.gone(other.ID)
	require.Equal(h.t, []vm.InstanceID{hung}, h.listed())
	require.True(h.t, h.inspect(hung).Exists)
	cancel()
	require.Error(h.t, h.ends(result))
	require.NoError(h.t, h.once(destroy(hung)))
	h.gone(hung)
}
