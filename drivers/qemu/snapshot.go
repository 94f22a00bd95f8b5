package qemu

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/qmp"
	"leasehold/vm"
)

// freezer has a guest hold its file systems still until thaw, as far as it can be asked to. The error is the context's:
// then nothing is held still, and there is no thaw. Else thaw must be called; it works also after ctx has ended.
type freezer func(ctx context.Context, m *machine) (thaw func(), err error)

// askToFreeze asks the guest's own agent; without one nothing is held still.
func askToFreeze(ctx context.Context, m *machine) (func(), error) { return m.freeze(ctx) }

// Snapshot implements drivers.Snapshotter. It is a machine's own disk that is copied, also of a rescued one.
func (d *Driver) Snapshot(ctx context.Context, id vm.InstanceID, image vm.ImageID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	def, err := m.require()
	if err != nil {
		return err
	}
	dir, err := d.shelf.place(image)
	if err != nil {
		return err
	}
	if whole, err := isWhole(dir); err != nil || whole {
		return err
	}
	report(progress("snapshot", 0, 0, "bytes"))
	if err := m.snapshot(ctx, def, dir, image, report); err != nil {
		if errors.Is(err, errOff) || errors.Is(err, qmp.ErrClosed) { // it has ended meanwhile: its disk is still there
			err = fmt.Errorf("%w: %w", drivers.ErrRetry, err)
		}
		return fmt.Errorf("cannot snapshot %s: %w", id, err)
	}
	d.log.Info("copied the disk", "instance", id, "image", image)
	return nil
}

// isWhole says whether an image's folder holds a whole copy, or an image already.
func isWhole(dir string) (bool, error) {
	for _, name := range []string{copied, shelvedWas} {
		if has, err := folder.Has(dir, name); err != nil || has {
			return has, err
		}
	}
	return false, nil
}

func (m *machine) snapshot(
	ctx context.Context, def definition, dir string, image vm.ImageID, report drivers.Report,
) error {
	if err := m.d.shelf.make(dir); err != nil {
		return err
	}
	if err := folder.WriteJSON(dir, copying, source{Instance: m.id}); err != nil {
		return err
	}
	path := filepath.Join(dir, folder.Part(copied))
	if err := m.copyDisk(ctx, def, path, image, report); err != nil {
		return errors.Join(err, folder.Remove(dir, folder.Part(copied)))
	}
	if err := folder.SyncFile(dir, folder.Part(copied)); err != nil {
		return err
	}
	if err := folder.Publish(dir, copied); err != nil {
		return err
	}
	return folder.Forget(dir, copying)
}

// copyDisk has whoever owns the disk now copy it: a QEMU that may write to it, or else we ourselves.
func (m *machine) copyDisk(
	ctx context.Context, def definition, path string, image vm.ImageID, report drivers.Report,
) error {
	s, err := m.ask(ctx)
	if err != nil && !errors.Is(err, errOff) {
		return err
	}
	switch {
	case err != nil, s.word == wordInmigrate, s.word == wordPostmigrate: // such processes have let go of the disk
		size := int64(def.Spec.Size.DiskGiB) << 30
		return m.d.images.tool.convert(ctx, ownDisk(diskOf(m.dir)), path, func(done int64) {
			report(progress("snapshot", size/wholly*done, size, "bytes"))
		})
	}
	if err := m.endCopy(ctx); err != nil { // somebody's who died, perhaps to the same file
		return err
	}
	if err := m.d.images.tool.create(ctx, path, def.Spec.Size.DiskGiB); err != nil {
		return err
	}
	return m.copyLive(ctx, s, path, image, report)
}

// ownDisk is one of our own disks as what another is made of.
func ownDisk(path string) image { return image{path: path, format: "qcow2"} }
