package qemu_test

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// counted is the guest's counter now, which is in its memory only.
func (h *host) counted(id vm.InstanceID) uint64 {
	h.Helper()
	l := dial(h.T, h.d, id)
	defer l.hangUp()
	return l.count()
}

// aged is a booted machine whose counter a boot could not have brought it to in the time of a test's next step.
func (h *host) aged() (vm.InstanceID, uint64) {
	h.Helper()
	id := h.booted()
	var n uint64
	until(h.T, "some ticks", func() bool { n = h.counted(id); return n > 20 })
	return id, n
}

// boots is how often the guest has begun.
func (h *host) boots(id vm.InstanceID) int {
	h.Helper()
	log, err := h.d.ConsoleLog(h.ctx(), id, 1<<20)
	require.NoError(h, err)
	return count(log, "BOOT0-READY")
}

// noMemory says that nothing is left of a saved memory.
func (h *host) noMemory(id vm.InstanceID) {
	h.Helper()
	for _, name := range []string{folder.Memory, folder.SpentMemory, folder.Part(folder.Memory)} {
		require.NoFileExists(h, h.file(id, name))
	}
}

func TestSuspendedMachineGoesOnWithItsMemory(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		for range 2 { // what was resumed can be suspended again
			require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
			require.NoError(h, h.d.Suspend(h.ctx(), id, quiet), "it is so already")
			require.Equal(h, vm.PowerSuspended, h.inspect(id).PowerState)
			require.Empty(h, processes(h.T, h.dir))
			h.restart()
			require.Equal(h, vm.PowerSuspended, h.inspect(id).PowerState)

			require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
			require.NoError(h, h.d.Resume(h.ctx(), id, quiet), "it is so already")
			require.Equal(h, vm.PowerRunning, h.inspect(id).PowerState)
			after := h.counted(id)
			require.Greater(h, after, before)
			before = after
			h.noMemory(id)
		}
		require.Equal(h, 1, h.boots(id))
	})
}

func TestSuspendOfAPausedMachineGoesOnRunning(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		require.NoError(h, h.d.Pause(h.ctx(), id, quiet))
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Greater(h, h.counted(id), before)
	})
}

func TestSavedMemoryIsNotLostByAccident(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		require.ErrorIs(h, h.d.Resume(h.ctx(), newSpec().ID, quiet), drivers.ErrNoMachine)
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		for name, err := range map[string]error{
			"start": h.d.Start(h.ctx(), id, quiet), "soft reboot": h.d.Reboot(h.ctx(), id, time.Second, quiet),
			"hard reboot": h.d.Reboot(h.ctx(), id, 0, quiet), "pause": h.d.Pause(h.ctx(), id, quiet),
			"unpause": h.d.Unpause(h.ctx(), id, quiet),
		} {
			require.ErrorContains(h, err, "resume it", name)
			require.Equal(h, vm.PowerSuspended, h.inspect(id).PowerState, name)
		}
		require.NoError(h, h.d.Interrupt(h.ctx(), id, true))
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Greater(h, h.counted(id), before)
	})
}

func TestStopGivesSavedMemoryUp(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.Stop(h.ctx(), id, 0, quiet))
		require.Equal(h, vm.PowerShutdown, h.inspect(id).PowerState)
		h.noMemory(id)
		require.ErrorIs(h, h.d.Resume(h.ctx(), id, quiet), drivers.ErrNoMemory)
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
		require.Equal(h, 2, h.boots(id))
	})
}

func TestPausedMachineIsNotTakenForOneHalfResumed(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, os.WriteFile(h.file(id, folder.SpentMemory), nil, 0o600)) // an agent died right after cont
		require.NoError(h, h.d.Pause(h.ctx(), id, quiet))
		require.ErrorIs(h, h.d.Resume(h.ctx(), id, quiet), drivers.ErrNoMemory)
		require.Equal(h, vm.PowerPaused, h.inspect(id).PowerState)
	})
}

// TestSuspendCutShortIsSuspendedAgain ends the call, or the hypervisor, at every moment that may matter.
func TestSuspendCutShortIsSuspendedAgain(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		for after := time.Millisecond; ; after += after / 2 {
			ctx, cancel := context.WithTimeout(h.Context(), after)
			err := h.d.Suspend(ctx, id, quiet)
			cancel()
			h.restart()
			if state := h.inspect(id).PowerState; err == nil {
				require.Equal(h, vm.PowerSuspended, state)
			}
			require.NoError(h, h.d.Suspend(h.ctx(), id, quiet), "after %s", after)
			require.Equal(h, vm.PowerSuspended, h.inspect(id).PowerState)
			require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
			now := h.counted(id)
			require.Greater(h, now, before)
			before = now
			if err == nil {
				break
			}
		}
		require.Equal(h, 1, h.boots(id))
		h.noMemory(id)
	})
}

func TestResumeCutShortIsResumedAgain(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		for after := time.Millisecond; ; after += after / 2 {
			require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
			ctx, cancel := context.WithTimeout(h.Context(), after)
			err := h.d.Resume(ctx, id, quiet)
			cancel()
			h.restart()
			require.NoError(h, h.d.Resume(h.ctx(), id, quiet), "after %s", after)
			now := h.counted(id)
			require.Greater(h, now, before)
			before = now
			h.noMemory(id)
			if err == nil {
				break
			}
		}
		require.Equal(h, 1, h.boots(id))
	})
}

// TestSuspendCutShortCanBeUndone lets the guest go on instead.
func TestSuspendCutShortCanBeUndone(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		for _, left := range []func(){
			func() { h.halfSaved(id) },
			func() { require.NoError(h, h.d.SaveSlowly(h.ctx(), id)) },
			func() { h.wholeSaved(id) },
			func() {
				h.wholeSaved(id)
				require.NoError(h, os.Rename(h.file(id, folder.Part(folder.Memory)), h.file(id, folder.Memory)))
			},
		} {
			left()
			h.restart()
			require.Equal(h, vm.PowerPaused, h.inspect(id).PowerState)
			require.NoError(h, h.d.Unpause(h.ctx(), id, quiet))
			require.Greater(h, h.counted(id), before)
			require.Equal(h, vm.PowerRunning, h.inspect(id).PowerState)
			h.noMemory(id)
			require.ErrorIs(h, h.resumeAfterKill(id), drivers.ErrNoMemory, "what has executed since is not in it")
			require.NoError(h, h.d.Start(h.ctx(), id, quiet))
			listens(h.T, h.d, id)
			before = 0
		}
	})
}

// halfSaved leaves what an agent leaves that dies in the middle of the copying, wholeSaved right after its end.
func (h *host) halfSaved(id vm.InstanceID) {
	h.Helper()
	require.NoError(h, h.d.Pause(h.ctx(), id, quiet))
	require.NoError(h, os.WriteFile(h.file(id, folder.Part(folder.Memory)), []byte("half"), 0o600))
}

func (h *host) wholeSaved(id vm.InstanceID) {
	h.Helper()
	require.NoError(h, h.d.SaveOnly(h.ctx(), id))
	require.Equal(h, "postmigrate", h.inspect(id).Detail)
}

func (h *host) resumeAfterKill(id vm.InstanceID) error {
	h.Helper()
	h.signal(id, syscall.SIGKILL)
	h.becomes(id, vm.PowerCrashed)
	return h.d.Resume(h.ctx(), id, quiet)
}

func TestHypervisorThatDiesBeforeItsMemoryIsWholeHasCrashed(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		h.wholeSaved(id)
		require.ErrorIs(h, h.resumeAfterKill(id), drivers.ErrNoMemory, "nobody has said that it is durable")
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
		h.noMemory(id)
	})
}

func TestHypervisorThatDiesAfterItsMemoryIsWholeIsSuspended(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		h.wholeSaved(id)
		require.NoError(h, os.Rename(h.file(id, folder.Part(folder.Memory)), h.file(id, folder.Memory)))
		h.signal(id, syscall.SIGKILL)
		h.becomes(id, vm.PowerSuspended)
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Greater(h, h.counted(id), before)
	})
}

// TestHalfSavedMemoryIsSavedAgain has the agent die while QEMU writes, and QEMU still at it.
func TestHalfSavedMemoryIsSavedAgain(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		require.NoError(h, h.d.SaveSlowly(h.ctx(), id))
		h.restart()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Greater(h, h.counted(id), before)
		h.noMemory(id)
	})
}

// TestWholeMemoryOfADeadAgentIsUsed has the agent die between the end of the copying and the word for it.
func TestWholeMemoryOfADeadAgentIsUsed(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		h.wholeSaved(id)
		h.restart()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Greater(h, h.counted(id), before)
	})
}

// TestHalfResumedMachineGoesOnFromWhereItIs has the agent die on either side of the mark.
func TestHalfResumedMachineGoesOnFromWhereItIs(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.LoadOnly(h.ctx(), id)) // loaded, nothing marked
		h.restart()
		require.ErrorContains(h, h.d.Start(h.ctx(), id, quiet), "resume it")
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Greater(h, h.counted(id), before)

		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.LoadOnly(h.ctx(), id))
		require.NoError(h, os.Rename(h.file(id, folder.Memory), h.file(id, folder.SpentMemory)))
		process := h.process(id)
		h.restart()
		require.NoError(h, h.d.Resume(h.ctx(), id, quiet))
		require.Equal(h, process, h.process(id), "the memory is there and nowhere else")
		require.Greater(h, h.counted(id), before)
		h.noMemory(id)
		require.Equal(h, 1, h.boots(id))
	})
}

// TestSpentMemoryIsNeverLoaded has the hypervisor die when it may have executed already.
func TestSpentMemoryIsNeverLoaded(t *testing.T) {
	each(t, func(h *host) {
		id, _ := h.aged()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.LoadOnly(h.ctx(), id))
		require.NoError(h, os.Rename(h.file(id, folder.Memory), h.file(id, folder.SpentMemory)))
		require.ErrorIs(h, h.resumeAfterKill(id), drivers.ErrNoMemory)
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
		h.noMemory(id)
		require.Equal(h, 2, h.boots(id))
	})
}

func TestUnreadableMemoryLeavesTheMachineSuspended(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, os.Truncate(h.file(id, folder.Memory), 100))
		require.Error(h, h.d.Resume(h.ctx(), id, quiet))
		require.Equal(h, vm.PowerSuspended, h.inspect(id).PowerState)
		require.Empty(h, processes(h.T, h.dir))
	})
}

func TestSuspendThatFailsLetsTheGuestGoOn(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		for _, name := range []string{folder.RescueDisk, folder.Rescue} { // which disks are to be durable cannot be read
			require.NoError(h, os.WriteFile(h.file(id, name), []byte("{"), 0o600))
		}
		require.ErrorContains(h, h.d.Suspend(h.ctx(), id, quiet), folder.Rescue)
		require.NoError(h, os.Remove(h.file(id, folder.Rescue)))
		require.Equal(h, vm.PowerRunning, h.inspect(id).PowerState)
		require.Greater(h, h.counted(id), before)
		h.noMemory(id)
	})
}

func TestMachineThatIsOffHasNothingToSuspend(t *testing.T) {
	each(t, func(h *host) {
		s := newSpec()
		require.ErrorIs(h, h.d.Suspend(h.ctx(), s.ID, quiet), drivers.ErrNoMachine)
		require.NoError(h, h.d.Prepare(h.ctx(), s, quiet))
		require.Error(h, h.d.Suspend(h.ctx(), s.ID, quiet))
		require.ErrorIs(h, h.d.Resume(h.ctx(), s.ID, quiet), drivers.ErrNoMemory)
		require.Equal(h, vm.PowerShutdown, h.inspect(s.ID).PowerState)
	})
}
