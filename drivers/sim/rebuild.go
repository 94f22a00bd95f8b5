package sim

import (
	"context"

	"leasehold/drivers"
	"leasehold/vm"
)

// Rebuild puts another disk in the place of the old one, and ends whatever the machine was doing, in one change.
func (d *Driver) Rebuild(ctx context.Context, spec drivers.Spec, report drivers.Report) error {
	return d.run(ctx, "rebuild", spec.ID, report, func(ctx context.Context, c *call) error {
		f, err := check(spec)
		if err != nil {
			return err
		}
		var k disk
		work := func(m *machine, _ record) (err error) {
			k, err = c.makeDisk(ctx, m, f, spec, spec.Image, "image", "disk", "rebuild")
			return err
		}
		return c.after(ctx, "rebuild", work, func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.Spec.Size != spec.Size:
				return already, vm.Refuse(vm.ReasonInvalidArgument, "a rebuild keeps the size %v, and %v was asked for",
					r.Spec.Size, spec.Size)
			}
			r.Spec, r.faults = spec, f
			r.Disk, r.Rescue, r.RescueDisk = k, "", ""
			r.enter(vm.PowerShutdown, "")
			return changes, nil
		})
	})
}
