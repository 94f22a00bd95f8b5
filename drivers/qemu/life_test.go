package qemu_test

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu/cgroup"
	"leasehold/vm"
)

func TestGuestBootsAndAnswers(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		log, err := h.d.ConsoleLog(h.ctx(), id, 1<<16)
		require.NoError(h, err)
		require.Contains(h, string(log), "BOOT0-READY")
		l := dial(h.T, h.d, id)
		defer l.hangUp()
		first := l.count()
		until(h.T, "a higher count", func() bool { return l.count() > first })
	})
}

func TestPausedGuestDoesNotExecute(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		l := dial(h.T, h.d, id)
		defer l.hangUp()
		before := l.count()
		require.NoError(h, h.d.Pause(h.ctx(), id, quiet))
		require.Equal(h, vm.PowerPaused, h.inspect(id).PowerState)
		l.say("c")
		_, answered := l.number(500 * time.Millisecond)
		require.False(h, answered)
		require.NoError(h, h.d.Unpause(h.ctx(), id, quiet))
		after, answered := l.number(patience)
		require.True(h, answered, "the key waited on the line")
		require.Greater(h, after, before, "memory was kept")
		require.Less(h, after, before+9, "and the guest did not count meanwhile") // half a second would be 9
	})
}

func TestDiskKeepsWhatTheGuestWroteOverStops(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		l := dial(h.T, h.d, id)
		l.say("w")
		written, ok := l.number(patience)
		require.True(h, ok)
		l.hangUp()
		require.NoError(h, h.d.Stop(h.ctx(), id, 0, quiet))
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
		l = dial(h.T, h.d, id)
		defer l.hangUp()
		l.say("d")
		read, ok := l.number(patience)
		require.True(h, ok)
		require.Equal(h, written, read)
	})
}

func TestDeafGuestIsCutOffAfterItsGrace(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		l := dial(h.T, h.d, id)
		l.say("i")
		l.count() // so it has read the i
		l.hangUp()
		const grace = 1500 * time.Millisecond
		began := time.Now()
		var seen []vm.Progress
		require.NoError(h, h.d.Stop(h.ctx(), id, grace, func(p vm.Progress) { seen = append(seen, p) }))
		require.GreaterOrEqual(h, time.Since(began), grace)
		require.Equal(h, vm.PowerShutdown, h.inspect(id).PowerState)
		log, err := h.d.ConsoleLog(h.ctx(), id, 1<<16)
		require.NoError(h, err)
		require.Contains(h, string(log), "PWRBTN", "it was asked")
		require.GreaterOrEqual(h, len(seen), 3, "each second is reported")
	})
}

func TestRebootBootsAgain(t *testing.T) {
	for name, grace := range map[string]time.Duration{"hard": 0, "soft": patience} {
		t.Run(name, func(t *testing.T) {
			each(t, func(h *host) {
				id := h.booted()
				l := dial(h.T, h.d, id)
				until(h.T, "some ticks", func() bool { return l.count() > 10 })
				l.hangUp()
				require.NoError(h, h.d.Reboot(h.ctx(), id, grace, quiet))
				require.NoError(h, h.d.Reboot(h.ctx(), id, 0, quiet), "right away: a guest in its first milliseconds")
				l = dial(h.T, h.d, id)
				defer l.hangUp()
				l.count()
				log, err := h.d.ConsoleLog(h.ctx(), id, 1<<16)
				require.NoError(h, err)
				require.Equal(h, grace > 0, contains(log, "PWRBTN"))
			})
		})
	}
}

func TestGuestThatRebootsItselfRunsOn(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		l := dial(h.T, h.d, id)
		defer l.hangUp()
		l.say("r")
		require.True(h, l.hear("BOOT0-READY", patience))
		require.Equal(h, vm.PowerRunning, h.inspect(id).PowerState)
	})
}

func TestPanicIsACrashThatStartRevives(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		events := h.d.Events(h.Context())
		press(h.T, h.d, id, "x")
		e := h.tells(events, id, vm.PowerCrashed)
		require.Equal(h, "guest-panicked", e.Detail)
		require.ErrorContains(h, h.d.Unpause(h.ctx(), id, quiet), "guest-panicked")
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
	})
}

func TestKilledProcessIsACrashWithItsSignal(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		events := h.d.Events(h.Context())
		h.signal(id, syscall.SIGKILL)
		require.Equal(h, "signal 9", h.tells(events, id, vm.PowerCrashed).Detail)
		require.Equal(h, vm.PowerCrashed, h.inspect(id).PowerState)
		require.Error(h, h.d.Pause(h.ctx(), id, quiet))
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
	})
}

func TestKilledShimTakesTheGuestAlong(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		events := h.d.Events(h.Context())
		require.NoError(h, syscall.Kill(h.shim(id), syscall.SIGKILL))
		h.tells(events, id, vm.PowerCrashed)
		require.Empty(h, processes(h.T, h.dir))
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
	})
}

func TestOwnCallsAreNoEvents(t *testing.T) {
	each(t, func(h *host) {
		events := h.d.Events(h.Context())
		id := h.booted()
		require.NoError(h, h.d.Pause(h.ctx(), id, quiet))
		require.NoError(h, h.d.Unpause(h.ctx(), id, quiet))
		require.NoError(h, h.d.Reboot(h.ctx(), id, patience, quiet))
		require.NoError(h, h.d.Stop(h.ctx(), id, patience, quiet))
		require.NoError(h, h.d.Start(h.ctx(), id, quiet))
		listens(h.T, h.d, id)
		press(h.T, h.d, id, "p")
		h.tells(events, id, vm.PowerShutdown) // the first and only one
	})
}

func TestMachinesOutliveTheirAgent(t *testing.T) {
	each(t, func(h *host) {
		running, paused, off := h.booted(), h.booted(), h.booted()
		l := dial(h.T, h.d, running)
		before := l.count()
		l.hangUp()
		require.NoError(h, h.d.Pause(h.ctx(), paused, quiet))
		require.NoError(h, h.d.Stop(h.ctx(), off, 0, quiet))
		crashed := h.booted()

		require.NoError(h, h.d.Close())
		h.signal(crashed, syscall.SIGKILL)
		h.d = open(h.T, h.v, h.dir)

		events := h.d.Events(h.Context())
		h.becomes(crashed, vm.PowerCrashed)
		list, err := h.d.List(h.ctx())
		require.NoError(h, err)
		got := map[vm.InstanceID]vm.PowerState{}
		for _, m := range list {
			got[m.ID] = m.PowerState
		}
		require.Equal(h, map[vm.InstanceID]vm.PowerState{
			running: vm.PowerRunning, paused: vm.PowerPaused, off: vm.PowerShutdown, crashed: vm.PowerCrashed,
		}, got)
		l = dial(h.T, h.d, running)
		require.Greater(h, l.count(), before, "it has never stopped")
		l.say("p")
		l.hangUp()
		until(h.T, "the event of the shutdown", func() bool {
			select {
			case e := <-events:
				return e.ID == running && e.PowerState == vm.PowerShutdown
			default:
				return false
			}
		})
	})
}

func TestDestroyLeavesNothing(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NotEmpty(h, processes(h.T, h.dir))
		tree, grouped := cgroup.Find()
		groups, err := filepath.Glob(filepath.Join(string(tree), "*"+string(id)))
		require.NoError(h, err)
		require.Equal(h, grouped, len(groups) == 1)
		require.NoError(h, h.d.Destroy(h.ctx(), id, quiet))
		require.Empty(h, processes(h.T, h.dir))
		require.NoDirExists(h, filepath.Join(h.dir, string(id)))
		for _, g := range groups {
			require.NoDirExists(h, g)
		}
		require.ErrorIs(h, h.d.Start(h.ctx(), id, quiet), drivers.ErrNoMachine)
		entries, err := os.ReadDir(h.dir)
		require.NoError(h, err)
		require.Len(h, entries, 2, "the cache of images, and those made here")
	})
}

func TestDestroyLeavesNothingOfARescuedAndSuspendedMachine(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, h.d.Rescue(h.ctx(), id, newSpec().Image, quiet))
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.Destroy(h.ctx(), id, quiet))
		require.NoDirExists(h, filepath.Join(h.dir, string(id)))
		require.Empty(h, processes(h.T, h.dir))
	})
}

func TestManyMachinesLiveAtOnce(t *testing.T) {
	each(t, func(h *host) {
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				s := newSpec()
				for _, step := range []func() error{
					func() error { return h.d.Prepare(h.ctx(), s, quiet) },
					func() error { return h.d.Start(h.ctx(), s.ID, quiet) },
					func() error { return h.d.Pause(h.ctx(), s.ID, quiet) },
					func() error { return h.d.Reboot(h.ctx(), s.ID, 0, quiet) },
					func() error { return h.d.Stop(h.ctx(), s.ID, 0, quiet) },
					func() error { return h.d.Destroy(h.ctx(), s.ID, quiet) },
				} {
					if err := step(); err != nil {
						h.Errorf("cannot live beside others: %v", err)
						return
					}
				}
			})
		}
		all.Wait()
		require.Empty(h, processes(h.T, h.dir))
	})
}

func TestFailedStartSaysWhatQEMUSaid(t *testing.T) {
	each(t, func(h *host) {
		s := newSpec()
		require.NoError(h, h.d.Prepare(h.ctx(), s, quiet))
		require.NoError(h, os.WriteFile(h.file(s.ID, "disk.qcow2"), []byte("no disk"), 0o600))
		err := h.d.Start(h.ctx(), s.ID, quiet)
		require.ErrorContains(h, err, "exit status 1")
		require.ErrorContains(h, err, "qcow2")
		require.Equal(h, vm.PowerCrashed, h.inspect(s.ID).PowerState)
	})
}
