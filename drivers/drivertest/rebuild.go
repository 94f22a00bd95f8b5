package drivertest

import (
	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func isRebuilt(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(rebuild(s)) // what was never started
	h.wants(s.ID, vm.PowerShutdown)
	h.must(start(s.ID))
	h.ready(s.ID)
	mark := h.writes(s.ID)
	s.Image = h.anImage()
	h.must(rebuild(s)) // what executes
	h.wants(s.ID, vm.PowerShutdown)
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.ready(s.ID)
	h.readsNot(s.ID, mark)
	mark = h.writes(s.ID)
	h.must(stop(s.ID, 0))
	h.must(rebuild(s)) // what is off
	h.must(start(s.ID))
	h.ready(s.ID)
	h.readsNot(s.ID, mark)
	if has[drivers.Suspender](h.d) {
		h.must(suspend(s.ID))
		h.must(rebuild(s))
		h.wants(s.ID, vm.PowerShutdown)
		require.ErrorIs(h.t, h.once(resume(s.ID)), drivers.ErrNoMemory, "memory of another disk")
	}
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func isRebuiltWhileRescued(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.ready(s.ID)
	own := h.writes(s.ID)
	h.must(rescue(s.ID, h.anImage()))
	h.ready(s.ID)
	mark := h.writes(s.ID)
	h.must(rebuild(s))
	h.isFrom(s.ID, vm.PowerShutdown, "")
	h.must(start(s.ID))
	h.runsFrom(s.ID, "")
	h.readsNot(s.ID, own)
	h.readsNot(s.ID, mark)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func rebuildRefused(h *host) {
	s := h.Spec(h.t)
	require.ErrorIs(h.t, h.once(rebuild(s)), drivers.ErrNoMachine)
	h.gone(s.ID)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	h.ready(s.ID)
	goesOn := h.remembers(s.ID)
	larger := s
	larger.Size.DiskGiB++
	require.Error(h.t, h.once(rebuild(larger)), "another size is no matter of a rebuild")
	h.wants(s.ID, vm.PowerRunning)
	goesOn()
}

// rebuildFails: until the new disk is whole the old one is, and nobody has ended the machine for nothing.
func rebuildFails(h *host) {
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	h.ready(s.ID)
	own, goesOn := h.writes(s.ID), h.remembers(s.ID)
	bad := s
	bad.Image = h.badImage()
	require.ErrorIs(h.t, h.once(rebuild(bad)), drivers.ErrBadImage)
	h.wants(s.ID, vm.PowerRunning)
	goesOn()
	h.reads(s.ID, own)
	if has[drivers.Suspender](h.d) {
		goesOn := h.remembers(s.ID)
		require.NoError(h.t, h.once(suspend(s.ID)))
		require.ErrorIs(h.t, h.once(rebuild(bad)), drivers.ErrBadImage)
		h.wants(s.ID, vm.PowerSuspended)
		require.NoError(h.t, h.once(resume(s.ID)))
		goesOn()
	}
	if has[drivers.Rescuer](h.d) {
		image := h.anImage()
		require.NoError(h.t, h.once(rescue(s.ID, image)))
		require.ErrorIs(h.t, h.once(rebuild(bad)), drivers.ErrBadImage)
		h.runsFrom(s.ID, image.ID)
		require.NoError(h.t, h.once(unrescue(s.ID)))
	}
	require.NoError(h.t, h.once(stop(s.ID, 0)))
	require.ErrorIs(h.t, h.once(rebuild(bad)), drivers.ErrBadImage)
	h.wants(s.ID, vm.PowerShutdown)
	require.NoError(h.t, h.once(start(s.ID)))
	h.ready(s.ID)
	h.reads(s.ID, own)
}

func rebuildCutShort(h *host) {
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	for _, after := range moments {
		require.NoError(h.t, h.once(start(s.ID)))
		h.ready(s.ID)
		mark := h.writes(s.ID)
		h.cut(after, s.ID, rebuild(s))
		h.wants(s.ID, vm.PowerShutdown)
		require.NoError(h.t, h.once(start(s.ID)))
		h.ready(s.ID)
		h.readsNot(s.ID, mark)
	}
}
