package drivertest

import (
	"context"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// call is one call of a method, with the machine and the options bound.
type call func(ctx context.Context, d drivers.Driver, report drivers.Report) error

func prepare(s drivers.Spec) call {
	return func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Prepare(ctx, s, r) }
}

func start(id vm.InstanceID) call {
	return func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Start(ctx, id, r) }
}

func stop(id vm.InstanceID, grace time.Duration) call {
	return func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Stop(ctx, id, grace, r) }
}

func destroy(id vm.InstanceID) call {
	return func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Destroy(ctx, id, r) }
}

// by is a call of an optional power. A driver without it answers ErrUnsupported.
func by[P any](f func(ctx context.Context, p P, r drivers.Report) error) call {
	return func(ctx context.Context, d drivers.Driver, r drivers.Report) error {
		p, ok := d.(P)
		if !ok {
			return drivers.ErrUnsupported
		}
		return f(ctx, p, r)
	}
}

// has says whether the driver has an optional power.
func has[P any](d drivers.Driver) bool {
	_, ok := d.(P)
	return ok
}

func reboot(id vm.InstanceID, grace time.Duration) call {
	return by(func(ctx context.Context, p drivers.Rebooter, r drivers.Report) error {
		return p.Reboot(ctx, id, grace, r)
	})
}

func pause(id vm.InstanceID) call {
	return by(func(ctx context.Context, p drivers.Pauser, r drivers.Report) error { return p.Pause(ctx, id, r) })
}

func unpause(id vm.InstanceID) call {
	return by(func(ctx context.Context, p drivers.Pauser, r drivers.Report) error { return p.Unpause(ctx, id, r) })
}

func suspend(id vm.InstanceID) call {
	return by(func(ctx context.Context, p drivers.Suspender, r drivers.Report) error { return p.Suspend(ctx, id, r) })
}

func resume(id vm.InstanceID) call {
	return by(func(ctx context.Context, p drivers.Suspender, r drivers.Report) error { return p.Resume(ctx, id, r) })
}

func rescue(id vm.InstanceID, image drivers.Image) call {
	return by(func(ctx context.Context, p drivers.Rescuer, r drivers.Report) error {
		return p.Rescue(ctx, id, image, r)
	})
}

func unrescue(id vm.InstanceID) call {
	return by(func(ctx context.Context, p drivers.Rescuer, r drivers.Report) error { return p.Unrescue(ctx, id, r) })
}

func rebuild(s drivers.Spec) call {
	return by(func(ctx context.Context, p drivers.Rebuilder, r drivers.Report) error { return p.Rebuild(ctx, s, r) })
}

func snapshot(id vm.InstanceID, image vm.ImageID) call {
	return by(func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) error {
		return p.Snapshot(ctx, id, image, r)
	})
}

// export is the call alone; what it tells is for exports.
func export(id vm.InstanceID, image vm.ImageID) call {
	return by(func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) error {
		_, err := p.Export(ctx, id, image, r)
		return err
	})
}

func dropImage(image vm.ImageID) call {
	return by(func(ctx context.Context, p drivers.Snapshotter, _ drivers.Report) error {
		return p.DropImage(ctx, image)
	})
}

func setPassword(id vm.InstanceID, password string) call {
	return by(func(ctx context.Context, p drivers.Passworder, r drivers.Report) error {
		return p.SetPassword(ctx, id, user, password, r)
	})
}

func interrupt(id vm.InstanceID, kill bool) call {
	return by(func(ctx context.Context, p drivers.Interrupter, _ drivers.Report) error {
		return p.Interrupt(ctx, id, kill)
	})
}
