package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// Prepare implements drivers.Driver. No process is made: the disk and the definition are all there is until Start.
func (d *Driver) Prepare(ctx context.Context, spec drivers.Spec, report drivers.Report) error {
	if err := checkSpec(spec); err != nil {
		return err
	}
	ctx, m, done, err := d.begin(ctx, spec.ID)
	if err != nil {
		return err
	}
	defer done()
	switch found, _ := look(m.dir); found {
	case whole:
		return nil
	case alien:
		return fmt.Errorf("cannot prepare %s: %w", spec.ID, errAlien)
	case nothing, half:
	}
	if err := m.make(ctx, spec, report); err != nil {
		return fmt.Errorf("cannot prepare %s: %w", spec.ID, err)
	}
	m.expect(vm.PowerShutdown)
	d.log.Info("prepared", "instance", spec.ID)
	return nil
}

// make writes the definition first, so that whatever is left by a crash is known as ours, and the disk last.
func (m *machine) make(ctx context.Context, spec drivers.Spec, report drivers.Report) error {
	if err := os.Mkdir(m.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	def := definition{Schema: schema, Machine: m.d.hyper.machine, Spec: spec}
	if err := folder.WriteJSON(m.dir, folder.Spec, def); err != nil {
		return err
	}
	if err := folder.Sync(filepath.Dir(m.dir)); err != nil {
		return err
	}
	img, err := m.d.images.get(ctx, spec.Image, spec.Size.DiskGiB, report)
	if err != nil {
		return err
	}
	if err := m.makeDisk(ctx, img, spec.Size.DiskGiB, report); err != nil {
		return errors.Join(err, folder.Remove(m.dir, folder.Part(folder.Disk)))
	}
	return nil
}

// makeDisk writes a disk of its own from the image: always converted, never a copy of a file that says of itself what it
// is, and of the size that was asked for.
func (m *machine) makeDisk(ctx context.Context, img image, size vm.GiB, report drivers.Report) error {
	path := filepath.Join(m.dir, folder.Part(folder.Disk))
	report(progress("disk", 0, 0, ""))
	if err := m.d.images.tool.convert(ctx, img, path, report); err != nil {
		return err
	}
	if err := m.d.images.tool.resize(ctx, path, size); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return folder.Publish(m.dir, folder.Disk)
}
