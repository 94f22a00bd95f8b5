package drivertest

import (
	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func rescuedAndReturns(h *host) {
	id, image := h.started(), h.anImage()
	own := h.writes(id)
	h.must(rescue(id, image))
	h.runsFrom(id, image.ID)
	h.readsNot(id, own)
	h.writes(id)
	h.must(unrescue(id))
	h.runsFrom(id, "")
	h.reads(id, own)
	h.must(destroy(id))
	h.gone(id)
}

// staysRescued makes every call that restarts or halts a machine. The mark shows that the disk is the same each time,
// not another one made of the same image.
func staysRescued(h *host) {
	id, image := h.started(), h.anImage()
	h.must(rescue(id, image))
	h.ready(id)
	mark := h.writes(id)
	lives := func() {
		h.t.Helper()
		h.runsFrom(id, image.ID)
		h.reads(id, mark)
	}
	h.must(stop(id, 0))
	h.isFrom(id, vm.PowerShutdown, image.ID)
	h.must(start(id))
	lives()
	if has[drivers.Rebooter](h.d) {
		h.must(reboot(id, 0))
		lives()
		h.must(reboot(id, h.Grace))
		lives()
	}
	if has[drivers.Pauser](h.d) {
		h.must(pause(id))
		h.isFrom(id, vm.PowerPaused, image.ID)
		h.must(unpause(id))
		lives()
	}
	if has[drivers.Suspender](h.d) {
		goesOn := h.remembers(id)
		h.must(suspend(id))
		h.isFrom(id, vm.PowerSuspended, image.ID)
		h.must(resume(id))
		lives()
		goesOn()
	}
	h.must(destroy(id))
	h.gone(id)
}

func rescuedFromAnyState(h *host) {
	one, two := h.anImage(), h.anImage()
	s := h.Spec(h.t)
	require.ErrorIs(h.t, h.once(rescue(s.ID, one)), drivers.ErrNoMachine)
	require.ErrorIs(h.t, h.once(unrescue(s.ID)), drivers.ErrNoMachine)
	h.gone(s.ID)

	id := h.prepared()
	require.NoError(h.t, h.once(rescue(id, one)), "what was never started")
	h.runsFrom(id, one.ID)
	require.NoError(h.t, h.once(rescue(id, two)), "what runs from another rescue disk")
	h.runsFrom(id, two.ID)
	require.NoError(h.t, h.once(stop(id, 0)))
	require.NoError(h.t, h.once(rescue(id, two)), "what is off and rescued")
	h.runsFrom(id, two.ID)
	require.NoError(h.t, h.once(stop(id, 0)))
	require.NoError(h.t, h.once(unrescue(id)), "of what is off")
	h.runsFrom(id, "")
	if has[drivers.Pauser](h.d) {
		require.NoError(h.t, h.once(pause(id)))
		require.NoError(h.t, h.once(rescue(id, one)), "what is paused")
		h.runsFrom(id, one.ID)
		require.NoError(h.t, h.once(pause(id)))
		require.NoError(h.t, h.once(unrescue(id)), "of what is paused")
		h.runsFrom(id, "")
	}
	if has[drivers.Suspender](h.d) {
		require.NoError(h.t, h.once(suspend(id)))
		require.NoError(h.t, h.once(rescue(id, one)), "what is suspended")
		h.runsFrom(id, one.ID)
		require.NoError(h.t, h.once(stop(id, 0)))
		require.ErrorIs(h.t, h.once(resume(id)), drivers.ErrNoMemory, "the own system's memory was given up")
	}
}

func rescueFails(h *host) {
	id, image, bad := h.started(), h.anImage(), h.badImage()
	own, goesOn := h.writes(id), h.remembers(id)
	require.ErrorIs(h.t, h.once(rescue(id, bad)), drivers.ErrBadImage)
	h.runsFrom(id, "")
	goesOn()
	require.NoError(h.t, h.once(rescue(id, image)))
	h.ready(id)
	goesOn = h.remembers(id)
	require.ErrorIs(h.t, h.once(rescue(id, bad)), drivers.ErrBadImage)
	h.runsFrom(id, image.ID)
	goesOn()
	require.NoError(h.t, h.once(unrescue(id)))
	h.ready(id)
	h.reads(id, own)
}

func rescueCutShort(h *host) {
	id, image := h.started(), h.anImage()
	own := h.writes(id)
	for _, after := range moments {
		h.cut(after, id, rescue(id, image))
		h.runsFrom(id, image.ID)
		h.cut(after, id, unrescue(id))
		h.runsFrom(id, "")
		h.reads(id, own)
	}
}

// anImage is usable, and another one each time.
func (h *host) anImage() drivers.Image {
	h.t.Helper()
	s := h.Spec(h.t)
	s.Image.ID = vm.ImageID(s.ID)
	return s.Image
}

func (h *host) badImage() drivers.Image {
	h.t.Helper()
	image := h.anImage()
	image.URL = "nonsense:default"
	return image
}

// isFrom says which power state the last call has reached, and which disk the machine starts from: empty is its own.
func (h *host) isFrom(id vm.InstanceID, want vm.PowerState, image vm.ImageID) {
	h.t.Helper()
	h.wants(id, want)
	require.Equal(h.t, image, h.inspect(id).Rescue)
}

// runsFrom is isFrom for what executes, and leaves the guest ready.
func (h *host) runsFrom(id vm.InstanceID, image vm.ImageID) {
	h.t.Helper()
	h.isFrom(id, vm.PowerRunning, image)
	h.ready(id)
}
