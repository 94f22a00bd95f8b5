package qemu_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/vm"
)

// promptly is far more than Inspect's second, and far less than for ever: the host may be busy.
const promptly = 20 * time.Second

func TestStoppedHypervisorIsSaidNotToAnswer(t *testing.T) {
	each(t, func(h *host) {
		hung, well := h.booted(), h.booted()
		h.signal(hung, syscall.SIGSTOP)
		began := time.Now()
		m := h.inspect(hung)
		require.Less(h, time.Since(began), promptly)
		require.Equal(h, vm.PowerNoState, m.PowerState)
		require.Contains(h, m.Detail, "does not answer")
		require.Equal(h, vm.PowerRunning, h.becomes(well, vm.PowerRunning).PowerState)
		h.signal(hung, syscall.SIGCONT)
		h.becomes(hung, vm.PowerRunning)
	})
}

// TestHungCallDoesNotDelayInspect has the call hang on one monitor while the other is asked.
func TestHungCallDoesNotDelayInspect(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		h.signal(id, syscall.SIGSTOP)
		result := make(chan error, 1)
		go func() { result <- h.d.Stop(h.ctx(), id, time.Hour, quiet) }()
		for range 3 {
			began := time.Now()
			require.Equal(h, vm.PowerNoState, h.inspect(id).PowerState)
			require.Less(h, time.Since(began), promptly)
		}
		until(h.T, "the end of the hung call", func() bool {
			require.NoError(h, h.d.Interrupt(h.ctx(), id, false))
			select {
			case err := <-result:
				require.ErrorContains(h, err, "interrupted")
				return true
			default:
				return false
			}
		})
		require.True(h, h.inspect(id).Exists)
	})
}

func TestInterruptKillsAStoppedHypervisor(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		h.signal(id, syscall.SIGSTOP)
		require.NoError(h, h.d.Interrupt(h.ctx(), id, true))
		require.Empty(h, processes(h.T, h.dir))
		m := h.inspect(id)
		require.Equal(h, vm.PowerCrashed, m.PowerState)
		require.Equal(h, "signal 9 (interrupt)", m.Detail)
	})
}

func TestDestroyAndStopGetPastAStoppedHypervisor(t *testing.T) {
	each(t, func(h *host) {
		destroyed, stopped := h.booted(), h.booted()
		h.signal(destroyed, syscall.SIGSTOP)
		h.signal(stopped, syscall.SIGSTOP)
		require.NoError(h, h.d.Destroy(h.ctx(), destroyed, quiet))
		require.False(h, h.inspect(destroyed).Exists)
		require.NoError(h, h.d.Stop(h.ctx(), stopped, 0, quiet))
		require.Equal(h, vm.PowerShutdown, h.inspect(stopped).PowerState)
		require.Empty(h, processes(h.T, h.dir))
	})
}

// TestStopGetsPastAStoppedShim takes the way without the shim's help.
func TestStopGetsPastAStoppedShim(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		shim := h.shim(id)
		h.signal(id, syscall.SIGSTOP)
		require.NoError(h, syscall.Kill(shim, syscall.SIGSTOP))
		require.NoError(h, h.d.Stop(h.ctx(), id, 0, quiet))
		require.Empty(h, processes(h.T, h.dir))
		require.Equal(h, vm.PowerShutdown, h.inspect(id).PowerState)
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
	})
}

func TestAgentThatStartsFindsAHungMachine(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		h.signal(id, syscall.SIGSTOP)
		h.restart()
		require.Equal(h, vm.PowerNoState, h.inspect(id).PowerState)
		ctx, cancel := context.WithTimeout(h.Context(), 100*time.Millisecond)
		defer cancel()
		require.Error(h, h.d.Pause(ctx, id, quiet))
		h.signal(id, syscall.SIGCONT)
		h.becomes(id, vm.PowerRunning)
		require.NoError(h, h.d.Pause(h.ctx(), id, quiet))
		require.Equal(h, vm.PowerPaused, h.inspect(id).PowerState)
	})
}

// TestHypervisorThatFallsSilentIsAnEvent, and one more when it answers again. Others are told of as before.
func TestHypervisorThatFallsSilentIsAnEvent(t *testing.T) {
	each(t, func(h *host) {
		hung, well := h.booted(), h.booted()
		events := h.d.Events(h.Context())
		for range 2 {
			h.signal(hung, syscall.SIGSTOP)
			began := time.Now()
			require.Contains(h, h.tells(events, hung, vm.PowerNoState).Detail, "does not answer")
			require.Less(h, time.Since(began), promptly)
			h.signal(hung, syscall.SIGCONT)
			h.tells(events, hung, vm.PowerRunning)
		}
		h.signal(hung, syscall.SIGSTOP)
		h.tells(events, hung, vm.PowerNoState)
		press(h.T, h.d, well, "p")
		h.tells(events, well, vm.PowerShutdown)
		h.signal(hung, syscall.SIGKILL)
		require.Equal(h, "signal 9", h.tells(events, hung, vm.PowerCrashed).Detail)
	})
}

func TestAgentThatStartsTellsWhenAHungMachineAnswers(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		h.signal(id, syscall.SIGSTOP)
		h.restart()
		events := h.d.Events(h.Context())
		require.Equal(h, vm.PowerNoState, h.inspect(id).PowerState)
		until(h.T, "the watcher's first look", func() bool { return h.d.Known(id) != "" })
		h.signal(id, syscall.SIGCONT)
		h.tells(events, id, vm.PowerRunning)
	})
}

func TestHungMachinesDoNotDelayTheListForLong(t *testing.T) {
	each(t, func(h *host) {
		hung := map[vm.InstanceID]bool{h.booted(): true, h.booted(): true, h.booted(): true}
		well := h.booted()
		for id := range hung {
			h.signal(id, syscall.SIGSTOP)
		}
		began := time.Now()
		list, err := h.d.List(h.ctx())
		require.NoError(h, err)
		require.Less(h, time.Since(began), promptly)
		require.Len(h, list, 4)
		for _, m := range list {
			if hung[m.ID] {
				require.Equal(h, vm.PowerNoState, m.PowerState)
			}
		}
		h.becomes(well, vm.PowerRunning)
	})
}
