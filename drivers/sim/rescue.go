package sim

import (
	"context"

	"leasehold/drivers"
	"leasehold/vm"
)

// Rescue starts the machine anew from a rescue disk; whatever it was doing, and its saved memory, is given up.
func (d *Driver) Rescue(
	ctx context.Context, id vm.InstanceID, image drivers.Image, report drivers.Report,
) error {
	return d.run(ctx, "rescue", id, report, func(ctx context.Context, c *call) error {
		if err := checkImage(image.ID); err != nil { // without an id it could not be told from the machine's own disk
			return err
		}
		var k disk
		work := func(m *machine, r record) (err error) {
			k, err = c.makeDisk(ctx, m, r.faults, r.Spec, image, "image", "disk", "rescue")
			return err
		}
		return c.after(ctx, "rescue", work, func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.Rescue == image.ID && r.executing():
				return already, nil
			}
			r.Rescue, r.RescueDisk = image.ID, k
			r.boot()
			return changes, nil
		})
	})
}

// Unrescue starts the machine anew from its own disk. What is not rescued and off was left so by an Unrescue cut short,
// as far as anybody can tell, and is started; what is paused or suspended was not, and its memory is not given up for
// nothing.
func (d *Driver) Unrescue(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "unrescue", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "unrescue", named("unrescue"), func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.Rescue == "" && r.executing():
				return already, nil
			case r.Rescue == "" && (r.Power == vm.PowerPaused || r.Power == vm.PowerSuspended):
				return already, vm.Refuse(vm.ReasonDriver, "the machine is %s and not rescued", r.Power)
			}
			r.Rescue, r.RescueDisk = "", ""
			r.boot()
			return changes, nil
		})
	})
}
