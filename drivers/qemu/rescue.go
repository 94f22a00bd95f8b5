package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// rescueOf tells of what image the disk was made that the machine starts from; nil when it starts from its own. Both
// the disk and the word for it must be there.
func rescueOf(dir string) (*drivers.Image, error) {
	if has, err := folder.Has(dir, folder.RescueDisk); err != nil || !has {
		return nil, err
	}
	var image drivers.Image
	err := folder.ReadJSON(dir, folder.Rescue, &image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &image, nil
}

// Rescue implements drivers.Rescuer. The disk is as large as the machine's own. It is made beside what executes, which
// ends only when the disk is whole; an image that cannot be used changes nothing.
func (d *Driver) Rescue(ctx context.Context, id vm.InstanceID, image drivers.Image, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	def, err := m.require()
	if err != nil {
		return err
	}
	if err := m.rescue(ctx, def, image, report); err != nil {
		return fmt.Errorf("cannot rescue %s: %w", id, err)
	}
	d.log.Info("started from a rescue disk", "instance", id, "image", image.ID)
	return nil
}

func (m *machine) rescue(ctx context.Context, def definition, image drivers.Image, report drivers.Report) error {
	now, err := rescueOf(m.dir)
	if err != nil {
		return err
	}
	there := now != nil && now.ID == image.ID
	if there {
		if s, err := m.status(ctx); err != nil || s.power == vm.PowerRunning {
			return err
		}
	} else if err := m.makeDisk(ctx, folder.RescueDisk, image, def.Spec.Size.DiskGiB, report); err != nil {
		return err
	}
	report(progress("rescue", 0, 1, ""))
	if err := m.shutOff(ctx); err != nil {
		return err
	}
	if !there {
		if err := m.putRescue(image); err != nil {
			return err
		}
	}
	return m.start(ctx, as("rescue", report))
}

// putRescue has a machine without a process start from the new rescue disk. In between it would start from its own,
// never from one that the word is not about.
func (m *machine) putRescue(image drivers.Image) error {
	if err := folder.Forget(m.dir, folder.Rescue); err != nil {
		return err
	}
	if err := folder.Publish(m.dir, folder.RescueDisk); err != nil {
		return err
	}
	return folder.WriteJSON(m.dir, folder.Rescue, image)
}

// Unrescue implements drivers.Rescuer.
func (d *Driver) Unrescue(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.require(); err != nil {
		return err
	}
	report(progress("unrescue", 0, 1, ""))
	if err := m.unrescue(ctx, report); err != nil {
		return fmt.Errorf("cannot unrescue %s: %w", id, err)
	}
	d.log.Info("started from its own disk", "instance", id)
	return nil
}

func (m *machine) unrescue(ctx context.Context, report drivers.Report) error {
	now, err := rescueOf(m.dir)
	if err != nil {
		return err
	}
	if now != nil {
		if err := m.shutOff(ctx); err != nil {
			return err
		}
	}
	if err := m.forgetRescue(); err != nil {
		return err
	}
	return m.start(ctx, as("unrescue", report))
}

// forgetRescue has a machine without a process start from its own disk: the word goes first.
func (m *machine) forgetRescue() error {
	return folder.Forget(m.dir, folder.Rescue, folder.RescueDisk)
}

// shutOff ends the machine for good: no process is left, and no memory.
func (m *machine) shutOff(ctx context.Context) error {
	if err := m.powerOff(ctx); err != nil {
		return err
	}
	return m.giveUpMemory()
}

// as reports everything under one phase.
func as(phase string, report drivers.Report) drivers.Report {
	return func(p vm.Progress) {
		p.Phase = phase
		report(p)
	}
}
