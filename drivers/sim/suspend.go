package sim

import (
	"context"

	"leasehold/drivers"
	"leasehold/vm"
)

// Suspend saves the memory, which a simulated guest has none of, and ends execution in the same change.
func (d *Driver) Suspend(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "suspend", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "suspend", named("suspend"), func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.Power == vm.PowerSuspended:
				return already, nil
			case !r.on():
				return already, vm.Refuse(vm.ReasonDriver, "the machine is %s", r.Power)
			}
			r.enter(vm.PowerSuspended, "")
			return changes, nil
		})
	})
}

// Resume goes on where the guest was; it does not begin anew.
func (d *Driver) Resume(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "resume", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "resume", named("resume"), func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.executing():
				return already, nil
			case r.Power != vm.PowerSuspended:
				return already, drivers.ErrNoMemory
			}
			r.enter(vm.PowerRunning, "")
			return changes, nil
		})
	})
}
