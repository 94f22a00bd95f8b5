package drivertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// madeOfSnapshot: the image is the disk of one moment, whatever its machine writes afterwards.
func madeOfSnapshot(h *host) {
	id, image := h.started(), h.imageID()
	then, goesOn := h.writes(id), h.remembers(id)
	h.must(snapshot(id, image))
	h.wants(id, vm.PowerRunning)
	goesOn()
	now := h.writes(id)
	require.NoError(h.t, h.once(snapshot(id, image)), "what is complete is not made again")
	require.Equal(h.t, []vm.ImageID{image}, h.images(), "a copy is listed")
	_, err := h.d.(drivers.Snapshotter).OpenImage(h.t.Context(), image)
	require.ErrorIs(h.t, err, drivers.ErrNoImage, "a copy is no image yet")
	made := h.exports(id, image)
	h.wants(id, vm.PowerRunning)
	h.reads(id, now)

	copied := h.Spec(h.t)
	copied.Image = imageOf(made)
	h.must(prepare(copied))
	h.must(start(copied.ID))
	h.wants(copied.ID, vm.PowerRunning)
	h.ready(copied.ID)
	h.reads(copied.ID, then)
	h.must(dropImage(image))
	require.Empty(h.t, h.images())
	_, err = h.d.(drivers.Snapshotter).OpenImage(h.t.Context(), image)
	require.ErrorIs(h.t, err, drivers.ErrNoImage)
	h.must(stop(copied.ID, 0))
	h.must(start(copied.ID))
	h.ready(copied.ID)
	h.reads(copied.ID, then) // what was made of an image does not need it any more
}

func snapshotInAnyState(h *host) {
	id := h.prepared()
	var want []vm.ImageID
	take := func(state vm.PowerState) vm.ImageID {
		h.t.Helper()
		image := h.imageID()
		h.must(snapshot(id, image))
		h.wants(id, state)
		h.exports(id, image)
		h.wants(id, state)
		want = append(want, image)
		return image
	}
	take(vm.PowerShutdown)
	h.must(start(id))
	h.ready(id)
	mark := h.writes(id)
	if has[drivers.Pauser](h.d) {
		h.must(pause(id))
		take(vm.PowerPaused)
		h.must(unpause(id))
	}
	if has[drivers.Suspender](h.d) {
		h.must(suspend(id))
		take(vm.PowerSuspended)
		h.must(resume(id))
	}
	h.must(stop(id, 0))
	last := take(vm.PowerShutdown)
	slices.Sort(want)
	require.Equal(h.t, want, h.images())

	if has[drivers.Rebuilder](h.d) {
		s := h.Spec(h.t)
		h.must(prepare(s))
		s.Image = imageOf(h.exports(id, last))
		h.must(rebuild(s))
		h.must(start(s.ID))
		h.ready(s.ID)
		h.reads(s.ID, mark)
	}
}

func imageOfNothing(h *host) {
	s, image := h.Spec(h.t), h.imageID()
	require.ErrorIs(h.t, h.once(snapshot(s.ID, image)), drivers.ErrNoMachine)
	id := h.prepared()
	require.ErrorIs(h.t, h.once(export(id, image)), drivers.ErrNoImage, "nothing was copied")
	require.NoError(h.t, h.once(dropImage(image)))
	_, err := h.d.(drivers.Snapshotter).OpenImage(h.t.Context(), image)
	require.ErrorIs(h.t, err, drivers.ErrNoImage)
	for _, odd := range []vm.ImageID{"", ".", "..", "../x", "a/b"} {
		require.Error(h.t, h.once(snapshot(id, odd)), "an id that is no file name: %q", odd)
		_, err := h.d.(drivers.Snapshotter).OpenImage(h.t.Context(), odd)
		require.Error(h.t, err, "%q", odd)
	}
	require.Empty(h.t, h.images())
	s.Image = imageOf(drivers.ImageFile{ID: image, Format: "raw"})
	require.ErrorIs(h.t, h.once(prepare(s)), drivers.ErrBadImage)
	require.NoError(h.t, h.once(destroy(s.ID)))
}

func imagesOutlive(h *host) {
	id, image := h.started(), h.imageID()
	mark := h.writes(id)
	require.NoError(h.t, h.once(snapshot(id, image)))
	h.restart() // a copy is there for a successor
	made := h.exports(id, image)
	require.NoError(h.t, h.once(destroy(id)))
	h.gone(id)
	require.Empty(h.t, h.listed(), "an image is no machine")
	h.restart()
	require.Equal(h.t, []vm.ImageID{image}, h.images())
	h.holds(made)
	s := h.Spec(h.t)
	s.Image = imageOf(made)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	h.ready(s.ID)
	h.reads(s.ID, mark)
}

func imageIsChecked(h *host) {
	id, image := h.prepared(), h.imageID()
	require.NoError(h.t, h.once(snapshot(id, image)))
	s := h.Spec(h.t)
	s.Image = imageOf(h.exports(id, image))
	s.Image.SHA256 = strings.Repeat("0", 64)
	require.ErrorIs(h.t, h.once(prepare(s)), drivers.ErrBadImage)
	require.ErrorIs(h.t, h.once(start(s.ID)), drivers.ErrNoMachine)
	require.NoError(h.t, h.once(destroy(s.ID)))
}

func snapshotCutShort(h *host) {
	id := h.started()
	for _, after := range moments {
		image := h.imageID()
		h.cut(after, id, snapshot(id, image))
		h.wants(id, vm.PowerRunning)
		h.cut(after, id, export(id, image))
		h.exports(id, image)
		require.NoError(h.t, h.once(dropImage(image)))
		require.Empty(h.t, h.images())
	}
}

// snapshotDropped: what is half-made can be removed, by the agent that made it and by its successor.
func snapshotDropped(h *host) {
	id := h.started()
	for _, restart := range []func(){func() {}, h.restart} {
		for _, after := range moments {
			image := h.imageID()
			h.cutOnly(after, id, snapshot(id, image))
			restart()
			require.NoError(h.t, h.once(dropImage(image)))
			require.Empty(h.t, h.images())
			require.NoError(h.t, h.once(snapshot(id, image)))
			h.cutOnly(after, id, export(id, image))
			restart()
			require.NoError(h.t, h.once(dropImage(image)))
			require.Empty(h.t, h.images())
		}
	}
	h.wants(id, vm.PowerRunning)
}

// imageID is one that nobody has used.
func (h *host) imageID() vm.ImageID {
	h.t.Helper()
	return vm.ImageID(h.Spec(h.t).ID)
}

// imageOf is what a control plane would make of an export. The host's name is of no matter where the image is.
func imageOf(f drivers.ImageFile) drivers.Image {
	return drivers.Image{
		ID: f.ID, Name: string(f.ID), URL: "host://here/" + string(f.ID), Format: f.Format, SHA256: f.SHA256,
	}
}

// exports makes the image as often as the mode says, and always once more: it is to tell the same each time.
func (h *host) exports(id vm.InstanceID, image vm.ImageID) drivers.ImageFile {
	h.t.Helper()
	var told []drivers.ImageFile
	c := by(func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) error {
		f, err := p.Export(ctx, id, image, r)
		told = append(told, f)
		return err
	})
	h.must(c)
	require.NoError(h.t, h.once(c), "once more")
	for _, f := range told {
		require.Equal(h.t, told[0], f)
	}
	require.Equal(h.t, image, told[0].ID)
	require.Contains(h.t, []string{"raw", "qcow2"}, told[0].Format)
	require.Contains(h.t, h.images(), image)
	h.holds(told[0])
	return told[0]
}

// holds reads the image as other hosts would.
func (h *host) holds(f drivers.ImageFile) {
	h.t.Helper()
	image, err := h.d.(drivers.Snapshotter).OpenImage(h.t.Context(), f.ID)
	require.NoError(h.t, err)
	require.Equal(h.t, f.SizeBytes, image.Size())
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(image, 0, image.Size()))
	require.NoError(h.t, err)
	require.Equal(h.t, f.SizeBytes, n)
	require.Equal(h.t, f.SHA256, hex.EncodeToString(sum.Sum(nil)))
	require.NoError(h.t, image.Close())
}

// images is the sorted ids of Images.
func (h *host) images() []vm.ImageID {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	ids, err := h.d.(drivers.Snapshotter).Images(ctx)
	require.NoError(h.t, err)
	return slices.Sorted(slices.Values(ids))
}
