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
	if err := m.makeDisk(ctx, folder.Disk, spec.Image, spec.Size.DiskGiB, report); err != nil {
		return err
	}
	return folder.Publish(m.dir, folder.Disk)
}

// makeDisk makes Part(name) a whole and durable disk of the image, which is of the size that was asked for, or leaves
// nothing. Whoever calls it publishes it.
func (m *machine) makeDisk(
	ctx context.Context, name string, from drivers.Image, size vm.GiB, report drivers.Report,
) error {
	img, err := m.d.images.get(ctx, from, size, report)
	if err != nil {
		return err
	}
	if err := m.fillDisk(ctx, folder.Part(name), img, size, report); err != nil {
		return errors.Join(err, folder.Remove(m.dir, folder.Part(name)))
	}
	return nil
}

// fillDisk always converts, and never copies a file that says of itself what it is.
func (m *machine) fillDisk(ctx context.Context, name string, img image, size vm.GiB, report drivers.Report) error {
	path := filepath.Join(m.dir, name)
	report(progress("disk", 0, 0, ""))
	err := m.d.images.tool.convert(ctx, img, path, func(done int64) { report(progress("disk", done, wholly, "")) })
	if err != nil {
		return err
	}
	if err := m.d.images.tool.resize(ctx, path, size); err != nil {
		return err
	}
	return folder.SyncFile(m.dir, name)
}
