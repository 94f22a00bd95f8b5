package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu"
	"leasehold/vm"
)

// bootedFrom is the machine made of an image that this host has made.
func (h *host) bootedFrom(image vm.ImageID) vm.InstanceID {
	h.Helper()
	s := newSpec()
	s.Image = drivers.Image{ID: image, URL: "host://here/" + string(image), Format: "qcow2"}
	require.NoError(h, h.d.Prepare(h.ctx(), s, quiet))
	require.NoError(h, h.d.Start(h.ctx(), s.ID, quiet))
	return s.ID
}

// exported makes an image of the machine's disk.
func (h *host) exported(id vm.InstanceID, image vm.ImageID) drivers.ImageFile {
	h.Helper()
	require.NoError(h, h.d.Snapshot(h.ctx(), id, image, quiet))
	made, err := h.d.Export(h.ctx(), id, image, quiet)
	require.NoError(h, err)
	return made
}

func (h *host) content(image vm.ImageID) []byte {
	h.Helper()
	r, err := h.d.OpenImage(h.ctx(), image)
	require.NoError(h, err)
	defer r.Close()
	b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	require.NoError(h, err)
	return b
}

// slowly has the copying of a disk of 1 GiB take two seconds, so that it can be met under way.
func slowly(c *qemu.Config) { c.SnapshotSpeed = 1 << 29 }

func TestSnapshotHasWhatTheGuestWroteInEveryState(t *testing.T) {
	each(t, func(h *host) {
		for name, to := range map[string]func(vm.InstanceID) error{
			"running":   func(vm.InstanceID) error { return nil },
			"paused":    func(id vm.InstanceID) error { return h.d.Pause(h.ctx(), id, quiet) },
			"off":       func(id vm.InstanceID) error { return h.d.Stop(h.ctx(), id, 0, quiet) },
			"suspended": func(id vm.InstanceID) error { return h.d.Suspend(h.ctx(), id, quiet) },
			"panicked": func(id vm.InstanceID) error {
				press(h.T, h.d, id, "x")
				h.becomes(id, vm.PowerCrashed)
				return nil
			},
			"rescued":    func(id vm.InstanceID) error { return h.d.Rescue(h.ctx(), id, marked(h.T, "r"), quiet) },
			"half saved": func(id vm.InstanceID) error { return h.d.SaveOnly(h.ctx(), id) },
		} {
			id := h.booted()
			written := h.writes(id)
			require.NoError(h, to(id), name)
			was := h.inspect(id)
			image := vm.ImageID("of-" + strings.ReplaceAll(name, " ", "-"))
			made := h.exported(id, image)
			require.Equal(h, was, h.inspect(id), name)
			require.Equal(h, written, h.sector(h.bootedFrom(image)), name)
			again, err := h.d.Export(h.ctx(), id, image, quiet)
			require.NoError(h, err)
			require.Equal(h, made, again, name)
			require.NoError(h, h.d.Snapshot(h.ctx(), id, image, quiet), "it is complete already")
			content := h.content(image)
			require.Len(h, content, int(made.SizeBytes))
			require.Equal(h, drivers.ImageFile{
				ID: image, Format: "qcow2", SizeBytes: int64(len(content)), SHA256: hexSum(content),
			}, made)
		}
	})
}

// TestSnapshotIsOfOneMoment has the guest write while its disk is copied, slowly.
func TestSnapshotIsOfOneMoment(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		before := h.writes(id)
		frozen := 0
		h.d.OnFreeze(func() func() { frozen++; return func() { frozen-- } })
		var after uint64
		require.NoError(h, h.d.Snapshot(h.ctx(), id, "moment", func(p vm.Progress) {
			require.Equal(h, "bytes", p.Unit)
			require.Zero(h, frozen, "it is held still for the beginning only")
			if p.Done > 0 && after == 0 {
				after = h.writes(id)
			}
		}))
		require.NotZero(h, after, "the guest went on and progress was told")
		require.Greater(h, after, before)
		_, err := h.d.Export(h.ctx(), id, "moment", quiet)
		require.NoError(h, err)
		require.Equal(h, before, h.sector(h.bootedFrom("moment")))
		require.Equal(h, after, h.sector(id))
	}, slowly)
}

func TestSnapshotWhoseContextEndsInTheFreezeCopiesNothing(t *testing.T) {
	h := newHost(t, variants(t)[0])
	id := h.booted()
	h.d.OnFreezeError(context.Canceled)
	require.ErrorIs(t, h.d.Snapshot(h.ctx(), id, "frozen", quiet), context.Canceled)
	require.Empty(t, h.d.Copying(h.ctx(), id))
	_, err := h.d.Export(h.ctx(), id, "frozen", quiet)
	require.ErrorIs(t, err, drivers.ErrNoImage)
}

func TestSnapshotEndsWithItsContextAndLeavesTheGuestAlone(t *testing.T) {
	each(t, func(h *host) {
		id, counted := h.aged()
		ctx, cancel := context.WithCancel(h.ctx())
		err := h.d.Snapshot(ctx, id, "cut", func(p vm.Progress) {
			if p.Done > 0 {
				cancel()
			}
		})
		require.ErrorIs(h, err, context.Canceled)
		require.Empty(h, h.d.Copying(h.ctx(), id), "nothing is under way in the hypervisor")
		require.Greater(h, h.counted(id), counted)
		images, err := h.d.Images(h.ctx())
		require.NoError(h, err)
		require.Equal(h, []vm.ImageID{"cut"}, images)
		require.NoError(h, h.d.DropImage(h.ctx(), "cut"))
		require.NoError(h, h.d.DropImage(h.ctx(), "cut"), "it is so already")
		images, err = h.d.Images(h.ctx())
		require.NoError(h, err)
		require.Empty(h, images)
	}, slowly)
}

// TestCopyingOfADeadAgentIsEnded by whoever drops its image, or copies that disk again.
func TestCopyingOfADeadAgentIsEnded(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		written := h.writes(id)
		for name, by := range map[string]func() error{
			"drop":  func() error { return h.d.DropImage(h.ctx(), "left") },
			"again": func() error { return h.d.Snapshot(h.ctx(), id, "left", quiet) },
			"other": func() error { return h.d.Snapshot(h.ctx(), id, "other", quiet) },
			"suspend": func() error {
				return errors.Join(h.d.Suspend(h.ctx(), id, quiet), h.d.Resume(h.ctx(), id, quiet))
			},
		} {
			require.NoError(h, h.d.DropImage(h.ctx(), "left"))
			require.NoError(h, h.d.CopyOnly(h.ctx(), id, "left"))
			h.restart()
			require.Len(h, h.d.Copying(h.ctx(), id), 1, name)
			require.NoError(h, by(), name)
			require.Empty(h, h.d.Copying(h.ctx(), id), name)
		}
		h.exported(id, "other")
		require.Equal(h, written, h.sector(h.bootedFrom("other")))
	}, slowly)
}

func TestImageOfAHungMachineCanBeDropped(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, h.d.CopyOnly(h.ctx(), id, "left"))
		h.restart()
		h.signal(id, syscall.SIGSTOP)
		require.NoError(h, h.d.DropImage(h.ctx(), "left"))
		images, err := h.d.Images(h.ctx())
		require.NoError(h, err)
		require.Empty(h, images)
	}, slowly)
}

func TestMachineThatDiesWhileItsDiskIsCopiedMayBeCopiedAgain(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		written := h.writes(id)
		killed := false
		err := h.d.Snapshot(h.ctx(), id, "twice", func(p vm.Progress) {
			if p.Done > 0 && !killed {
				killed = true
				h.signal(id, syscall.SIGKILL)
			}
		})
		require.ErrorIs(h, err, drivers.ErrRetry)
		h.exported(id, "twice")
		require.Equal(h, written, h.sector(h.bootedFrom("twice")))
	}, slowly)
}

func TestImagesOutliveTheirMachineAndAgent(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		written := h.writes(id)
		require.NoError(h, h.d.Snapshot(h.ctx(), id, "one", quiet))
		_, err := h.d.OpenImage(h.ctx(), "one")
		require.ErrorIs(h, err, drivers.ErrNoImage, "a copy is no image")
		require.NoError(h, h.d.Destroy(h.ctx(), id, quiet))
		h.restart()
		_, err = h.d.Export(h.ctx(), id, "one", quiet)
		require.NoError(h, err)
		require.Equal(h, written, h.sector(h.bootedFrom("one")))
		reader, err := h.d.OpenImage(h.ctx(), "one")
		require.NoError(h, err)
		defer reader.Close()
		require.NoError(h, h.d.DropImage(h.ctx(), "one"))
		_, err = reader.ReadAt(make([]byte, 4), reader.Size()-4)
		require.NoError(h, err, "whoever reads it reads it to its end")
		_, err = h.d.OpenImage(h.ctx(), "one")
		require.ErrorIs(h, err, drivers.ErrNoImage)
		_, err = h.d.Export(h.ctx(), id, "one", quiet)
		require.ErrorIs(h, err, drivers.ErrNoImage)
		require.Error(h, h.d.Snapshot(h.ctx(), h.booted(), "../one", quiet))
		require.Error(h, h.d.DropImage(h.ctx(), "../one"))
	})
}

func TestUsageIsOfEachVCPUAndGrows(t *testing.T) {
	each(t, func(h *host) {
		s := newSpec()
		s.Size.VCPUs = 2
		_, err := h.d.Usage(h.ctx(), s.ID)
		require.ErrorIs(h, err, drivers.ErrNoMachine)
		require.NoError(h, h.d.Prepare(h.ctx(), s, quiet))
		off, err := h.d.Usage(h.ctx(), s.ID)
		require.NoError(h, err)
		require.Empty(h, off)
		require.NoError(h, h.d.Start(h.ctx(), s.ID, quiet))
		listens(h.T, h.d, s.ID)
		first, err := h.d.Usage(h.ctx(), s.ID)
		require.NoError(h, err)
		require.Len(h, first, 2)
		require.Positive(h, first[0].Run)
		until(h.T, "more time on a processor", func() bool {
			now, err := h.d.Usage(h.ctx(), s.ID)
			require.NoError(h, err)
			return now[0].Run > first[0].Run && now[0].Wait >= first[0].Wait
		})
		h.signal(s.ID, syscall.SIGSTOP)
		_, err = h.d.Usage(h.ctx(), s.ID)
		require.ErrorContains(h, err, "does not answer")
	})
}

// remote plays another host that has content as an image. Each connection brings at most piece bytes.
func remote(content []byte, piece int) (drivers.Fetch, *[]int64) {
	asked := new([]int64)
	return func(_ context.Context, _ drivers.Image, offset int64) (io.ReadCloser, int64, error) {
		*asked = append(*asked, offset)
		end := min(offset+int64(piece), int64(len(content)))
		return io.NopCloser(strings.NewReader(string(content[offset:end]))), int64(len(content)), nil
	}, asked
}

func TestImageOfAnotherHostIsFetchedFromWhereItBroke(t *testing.T) {
	here := newHost(t, variants(t)[0])
	id := here.booted()
	written := here.writes(id)
	made := here.exported(id, "moved")
	content := here.content("moved")
	fetch, asked := remote(content, len(content)/3)

	there := newHost(t, variants(t)[0], func(c *qemu.Config) { c.Fetch = fetch })
	image := drivers.Image{ID: "moved", URL: "host://h1/moved", Format: "qcow2", SHA256: made.SHA256, Address: "h1:1"}
	for range 2 { // the second finds it here
		s := newSpec()
		s.Image = image
		require.NoError(t, there.d.Prepare(there.ctx(), s, quiet))
		require.NoError(t, there.d.Start(there.ctx(), s.ID, quiet))
		require.Equal(t, written, there.sector(s.ID))
	}
	third := int64(len(content) / 3)
	require.Equal(t, []int64{0, third, 2 * third, 3 * third}[:len(*asked)], *asked)
	require.GreaterOrEqual(t, len(*asked), 3)
}

func TestBrokenFetchGoesOnAtTheNextTry(t *testing.T) {
	here := newHost(t, variants(t)[0])
	id := here.booted()
	made := here.exported(id, "x")
	content := here.content("x")
	half := len(content) / 2
	broken := true
	var asked []int64
	fetch := func(_ context.Context, _ drivers.Image, offset int64) (io.ReadCloser, int64, error) {
		asked = append(asked, offset)
		switch {
		case !broken:
			return io.NopCloser(strings.NewReader(string(content[offset:]))), int64(len(content)), nil
		case offset == 0:
			return io.NopCloser(io.MultiReader(strings.NewReader(string(content[:half])), failing{})), int64(len(content)), nil
		}
		return nil, 0, fmt.Errorf("cannot reach h1: %w", drivers.ErrRetry)
	}
	there := newHost(t, variants(t)[0], func(c *qemu.Config) { c.Fetch = fetch })
	s := newSpec()
	s.Image = drivers.Image{ID: "x", URL: "host://h1/x", Format: "qcow2", SHA256: made.SHA256}
	require.ErrorIs(t, there.d.Prepare(there.ctx(), s, quiet), drivers.ErrRetry)
	broken = false
	require.NoError(t, there.d.Prepare(there.ctx(), s, quiet))
	require.Equal(t, []int64{0, int64(half), int64(half)}, asked)
	there.clean()
}

// failing is the end of a connection that breaks.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestWrongImagesOfAnotherHostAreRefused(t *testing.T) {
	here := newHost(t, variants(t)[0])
	id := here.booted()
	made := here.exported(id, "x")
	content := here.content("x")
	spoilt := append([]byte{}, content...)
	spoilt[len(spoilt)-1] ^= 1
	whole := func(b []byte, size int64) drivers.Fetch {
		return func(_ context.Context, _ drivers.Image, offset int64) (io.ReadCloser, int64, error) {
			return io.NopCloser(strings.NewReader(string(b[offset:]))), size, nil
		}
	}
	size := int64(len(content))
	for name, c := range map[string]struct {
		fetch drivers.Fetch
		sum   string
		says  string
	}{
		"nobody to ask":     {nil, made.SHA256, "cannot be asked"},
		"another content":   {whole(spoilt, size), made.SHA256, "sha256"},
		"longer":            {whole(content, size-1), made.SHA256, "longer"},
		"too large for all": {whole(content, 2<<30), made.SHA256, "do not fit"},
		"no image": {func(context.Context, drivers.Image, int64) (io.ReadCloser, int64, error) {
			return nil, 0, drivers.ErrNoImage
		}, made.SHA256, "no such image"},
	} {
		there := newHost(t, variants(t)[0], func(cfg *qemu.Config) { cfg.Fetch = c.fetch })
		s := newSpec()
		s.Image = drivers.Image{ID: "x", URL: "host://h1/x", Format: "qcow2", SHA256: c.sum}
		err := there.d.Prepare(there.ctx(), s, quiet)
		require.ErrorContains(t, err, c.says, name)
		require.NotErrorIs(t, err, drivers.ErrRetry, name)
		there.clean()
	}
	s := newSpec()
	s.Image = drivers.Image{ID: "x", URL: "host://here/x", Format: "qcow2", SHA256: hexSum(spoilt)}
	require.ErrorIs(t, here.d.Prepare(here.ctx(), s, quiet), drivers.ErrBadImage, "the own one is not what is wanted")
	require.NoError(t, os.RemoveAll(filepath.Join(here.dir, string(s.ID))))
}
