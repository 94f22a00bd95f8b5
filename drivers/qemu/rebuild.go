package qemu

import (
	"context"
	"fmt"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// Rebuild implements drivers.Rebuilder. The machine's hardware stays what it was made with.
func (d *Driver) Rebuild(ctx context.Context, spec drivers.Spec, report drivers.Report) error {
	if err := checkSpec(spec); err != nil {
		return err
	}
	ctx, m, done, err := d.begin(ctx, spec.ID)
	if err != nil {
		return err
	}
	defer done()
	def, err := m.require()
	if err != nil {
		return err
	}
	if spec.Size != def.Spec.Size {
		return fmt.Errorf("cannot rebuild %s: its size is %+v and not %+v", spec.ID, def.Spec.Size, spec.Size)
	}
	def.Spec = spec
	if err := m.rebuild(ctx, def, report); err != nil {
		return fmt.Errorf("cannot rebuild %s: %w", spec.ID, err)
	}
	d.log.Info("rebuilt", "instance", spec.ID)
	return nil
}

// rebuild makes everything else ready before the new disk takes the place of the old one, in one change. A crash right
// after that leaves the older definition of the same hardware, until it is done again.
func (m *machine) rebuild(ctx context.Context, def definition, report drivers.Report) error {
	if err := m.makeDisk(ctx, folder.Disk, def.Spec.Image, def.Spec.Size.DiskGiB, report); err != nil {
		return err
	}
	report(progress("rebuild", 0, 1, ""))
	if err := m.shutOff(ctx); err != nil {
		return err
	}
	if statusOff(m.dir).power != vm.PowerShutdown { // how the old system ended says nothing about the new one
		if err := m.endWell(); err != nil {
			return err
		}
	}
	if err := m.forgetRescue(); err != nil {
		return err
	}
	if err := folder.Publish(m.dir, folder.Disk); err != nil {
		return err
	}
	m.expect(vm.PowerShutdown)
	return folder.WriteJSON(m.dir, folder.Spec, def)
}
