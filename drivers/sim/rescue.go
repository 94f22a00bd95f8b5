package sim

import (
	"context"

	"leasehold/drivers"
	"leasehold/vm"
)

// Rescue starts the machine anew from a rescue disk; whatever it was doing, and its saved memory, is given up.
func (d *Driver) Rescue(ctx context.Context, id vm.InstanceID, image drivers.Image, report drivers.Report) error {
	return d.run(ctx, "rescue", id, report, func(ctx context.Context, c *call) error {
		return c.remake(ctx, "rescue", []string{"image", "disk", "rescue"}, &image, func(r *record) (verdict, error) {
			if r.Rescue == image.ID && r.executing() {
				return already, nil
			}
			r.Rescue = image.ID
			r.boot()
			return changes, nil
		})
	})
}

// Unrescue starts the machine anew from its own disk.
func (d *Driver) Unrescue(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "unrescue", id, report, func(ctx context.Context, c *call) error {
		return c.remake(ctx, "unrescue", []string{"unrescue"}, nil, func(r *record) (verdict, error) {
			if r.Rescue == "" && r.executing() {
				return already, nil
			}
			r.Rescue = ""
			r.boot()
			return changes, nil
		})
	})
}

// Rebuild puts another disk in the place of the old one, with the machine off.
func (d *Driver) Rebuild(ctx context.Context, spec drivers.Spec, report drivers.Report) error {
	return d.run(ctx, "rebuild", spec.ID, report, func(ctx context.Context, c *call) error {
		f, err := check(spec)
		if err != nil {
			return err
		}
		return c.remake(ctx, "rebuild", []string{"image", "disk", "rebuild"}, &spec.Image, func(r *record) (verdict, error) {
			r.Spec, r.faults, r.Rescue, r.Disk = spec, f, "", d.content(spec.Image)
			r.enter(vm.PowerShutdown, "")
			return changes, nil
		})
	})
}

// remake is do with several steps before the change, the first of which gets an image; a made machine is what it is for.
func (c *call) remake(ctx context.Context, change string, steps []string, image *drivers.Image, mv move) error {
	m := c.d.find(c.id)
	if m == nil {
		return drivers.ErrNoMachine
	}
	made := func(r *record) (verdict, error) {
		if !r.Made {
			return already, drivers.ErrNoMachine
		}
		return mv(r)
	}
	r, err := m.copied()
	if err != nil {
		return err
	}
	f := r.faults
	if v, err := made(&r); v == already || err != nil {
		return err
	}
	for _, step := range steps {
		if err := c.step(ctx, m, f, step); err != nil {
			return err
		}
		if step == "image" {
			if err := c.d.usable(*image); err != nil {
				return err
			}
		}
	}
	return c.d.change(ctx, m, change, made)
}
