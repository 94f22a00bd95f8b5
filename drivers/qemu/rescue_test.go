package qemu_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu/boot0"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// mark is what a disk made by marked holds in its second sector, as boot0 reads it.
const mark = 0xc0ffee11

// marked is an image of boot0 whose disk is told from all others.
func marked(t *testing.T, id vm.ImageID) drivers.Image {
	t.Helper()
	disk := boot0.Disk()
	copy(disk[512:], []byte{mark & 0xff, mark >> 8 & 0xff, mark >> 16 & 0xff, mark >> 24})
	path := filepath.Join(t.TempDir(), "marked.raw")
	require.NoError(t, os.WriteFile(path, disk, 0o600))
	return drivers.Image{ID: id, URL: "file://" + path, Format: "raw"}
}

// sector is what the guest reads from the disk that it was started from.
func (h *host) sector(id vm.InstanceID) uint64 {
	h.Helper()
	l := dial(h.T, h.d, id)
	defer l.hangUp()
	l.count()
	return l.ask("d")
}

// writes has the guest write its counter to that disk, and tells it.
func (h *host) writes(id vm.InstanceID) uint64 {
	h.Helper()
	l := dial(h.T, h.d, id)
	defer l.hangUp()
	l.count()
	return l.ask("w")
}

func TestRescuedMachineStartsFromTheRescueDisk(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		written, image := h.writes(id), marked(h.T, "rescue")
		require.NoError(h, h.d.Rescue(h.ctx(), id, image, quiet))
		process := h.process(id)
		require.NoError(h, h.d.Rescue(h.ctx(), id, image, quiet), "it is so already")
		require.Equal(h, process, h.process(id))
		m := h.inspect(id)
		require.Equal(h, image.ID, m.Rescue)
		require.Equal(h, vm.PowerRunning, m.PowerState)
		require.Len(h, m.Disks, 2)
		require.EqualValues(h, mark, h.sector(id))

		for name, act := range map[string]func() error{
			"soft reboot": func() error { return h.d.Reboot(h.ctx(), id, patience, quiet) },
			"hard reboot": func() error { return h.d.Reboot(h.ctx(), id, 0, quiet) },
			"stop and start": func() error {
				return errors.Join(h.d.Stop(h.ctx(), id, 0, quiet), h.d.Start(h.ctx(), id, quiet))
			},
			"pause and unpause": func() error {
				return errors.Join(h.d.Pause(h.ctx(), id, quiet), h.d.Unpause(h.ctx(), id, quiet))
			},
			"suspend and resume": func() error {
				return errors.Join(h.d.Suspend(h.ctx(), id, quiet), h.d.Resume(h.ctx(), id, quiet))
			},
		} {
			require.NoError(h, act(), name)
			h.restart()
			require.Equal(h, image.ID, h.inspect(id).Rescue, name)
			require.EqualValues(h, mark, h.sector(id), name)
		}
		rescueWrote := h.writes(id)
		require.NotEqual(h, written, rescueWrote)

		require.NoError(h, h.d.Unrescue(h.ctx(), id, quiet))
		require.NoError(h, h.d.Unrescue(h.ctx(), id, quiet), "it is so already")
		require.Empty(h, h.inspect(id).Rescue)
		require.Equal(h, written, h.sector(id), "what was written in between went to the rescue disk")
		require.NoFileExists(h, h.file(id, folder.RescueDisk))
	})
}

// TestOwnDiskIsTheSecondOfARescuedMachine has a boot0 on the rescue disk that reads and writes the second disk.
func TestOwnDiskIsTheSecondOfARescuedMachine(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		written := h.writes(id)
		ofTheFirst := []byte{0x8a, 0x16, 0x2f, 0x7d}  // mov drive,%dl
		ofTheSecond := []byte{0xb2, 0x81, 0x90, 0x90} // mov $0x81,%dl
		require.Equal(h, 1, bytes.Count(boot0.Disk(), ofTheFirst))
		path := filepath.Join(h.TempDir(), "second.raw")
		require.NoError(h, os.WriteFile(path, bytes.Replace(boot0.Disk(), ofTheFirst, ofTheSecond, 1), 0o600))
		require.NoError(h, h.d.Rescue(h.ctx(), id, drivers.Image{ID: "second", URL: "file://" + path, Format: "raw"}, quiet))
		require.Equal(h, written, h.sector(id))
		repaired := h.writes(id)
		require.NoError(h, h.d.Unrescue(h.ctx(), id, quiet))
		require.Equal(h, repaired, h.sector(id))
	})
}

func TestAnotherRescueImageTakesThePlaceOfTheFirst(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, h.d.Rescue(h.ctx(), id, newSpec().Image, quiet))
		require.Zero(h, h.sector(id))
		require.NoError(h, h.d.Rescue(h.ctx(), id, marked(h.T, "other"), quiet))
		require.Equal(h, vm.ImageID("other"), h.inspect(id).Rescue)
		require.EqualValues(h, mark, h.sector(id))
	})
}

func TestRescueWithABadImageChangesNothing(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		bad := marked(h.T, "bad")
		bad.Format = "qcow2"
		require.ErrorIs(h, h.d.Rescue(h.ctx(), id, bad, quiet), drivers.ErrBadImage)
		require.Empty(h, h.inspect(id).Rescue)
		require.Greater(h, h.counted(id), before)
		h.clean()
	})
}

func TestRescueGivesSavedMemoryUpAndGetsPastAHang(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, h.d.Suspend(h.ctx(), id, quiet))
		require.NoError(h, h.d.Rescue(h.ctx(), id, marked(h.T, "r"), quiet))
		h.noMemory(id)
		require.EqualValues(h, mark, h.sector(id))
		h.signal(id, syscall.SIGSTOP)
		require.NoError(h, h.d.Unrescue(h.ctx(), id, quiet))
		require.Zero(h, h.sector(id))
	})
}

func TestRescueCutShortIsMadeAgain(t *testing.T) {
	each(t, func(h *host) {
		id, image := h.booted(), marked(h.T, "r")
		for after := time.Millisecond; ; after *= 3 {
			ctx, cancel := context.WithTimeout(h.Context(), after)
			err := h.d.Rescue(ctx, id, image, quiet)
			cancel()
			h.restart()
			require.NoError(h, h.d.Rescue(h.ctx(), id, image, quiet))
			require.EqualValues(h, mark, h.sector(id))

			ctx, cancel = context.WithTimeout(h.Context(), after)
			_ = h.d.Unrescue(ctx, id, quiet)
			cancel()
			h.restart()
			require.NoError(h, h.d.Unrescue(h.ctx(), id, quiet))
			require.Zero(h, h.sector(id))
			if err == nil {
				break
			}
		}
		h.clean()
	})
}

func TestRebuiltMachineHasANewDisk(t *testing.T) {
	each(t, func(h *host) {
		for name, before := range map[string]func(vm.InstanceID) error{
			"running":   func(vm.InstanceID) error { return nil },
			"off":       func(id vm.InstanceID) error { return h.d.Stop(h.ctx(), id, 0, quiet) },
			"suspended": func(id vm.InstanceID) error { return h.d.Suspend(h.ctx(), id, quiet) },
			"rescued":   func(id vm.InstanceID) error { return h.d.Rescue(h.ctx(), id, newSpec().Image, quiet) },
			"crashed": func(id vm.InstanceID) error {
				h.signal(id, syscall.SIGKILL)
				h.becomes(id, vm.PowerCrashed)
				return nil
			},
		} {
			id := h.booted()
			require.NoError(h, before(id), name)
			s := newSpec()
			s.ID, s.Image = id, marked(h.T, "new")
			require.NoError(h, h.d.Rebuild(h.ctx(), s, quiet), name)
			require.NoError(h, h.d.Rebuild(h.ctx(), s, quiet), "again")
			m := h.inspect(id)
			require.Equal(h, vm.PowerShutdown, m.PowerState, name)
			require.Empty(h, m.Rescue, name)
			h.noMemory(id)
			h.restart()
			require.NoError(h, h.d.Start(h.ctx(), id, quiet), name)
			require.EqualValues(h, mark, h.sector(id), name)
			require.NoError(h, h.d.Destroy(h.ctx(), id, quiet), name)
		}
	})
}

func TestRebuildThatFailsLeavesTheMachineAsItWas(t *testing.T) {
	each(t, func(h *host) {
		id, before := h.aged()
		s := newSpec()
		s.ID, s.Image = id, drivers.Image{URL: "file:///no/such/image", Format: "raw"}
		require.ErrorIs(h, h.d.Rebuild(h.ctx(), s, quiet), drivers.ErrBadImage)
		require.Greater(h, h.counted(id), before)
		s = newSpec()
		require.ErrorIs(h, h.d.Rebuild(h.ctx(), s, quiet), drivers.ErrNoMachine)
		s.ID, s.Size.MemoryMiB = id, 16
		require.ErrorContains(h, h.d.Rebuild(h.ctx(), s, quiet), "size")
		require.Greater(h, h.counted(id), before)
		h.clean()
	})
}

func TestHalfMadeDisksOfADeadAgentAreRemoved(t *testing.T) {
	h := newHost(t, variants(t)[0])
	id := h.booted()
	for _, name := range []string{folder.Disk, folder.RescueDisk} {
		require.NoError(t, os.WriteFile(h.file(id, folder.Part(name)), []byte("half"), 0o600))
	}
	h.restart()
	h.clean()
	require.Equal(t, vm.PowerRunning, h.inspect(id).PowerState)
}
