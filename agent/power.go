package agent

import (
	"context"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// The actions that make, start, stop and end machines.

func create(spec drivers.Spec) action {
	return action{name: "create", options: options{Spec: &spec}, revives: true, calls: []driverCall{
		{"prepare", func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Prepare(ctx, spec, r) }},
		startCall(spec.ID),
	}}
}

func start(id vm.InstanceID) action {
	return action{name: "start", revives: true, calls: []driverCall{startCall(id)}}
}

func startCall(id vm.InstanceID) driverCall {
	return driverCall{"start", func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Start(ctx, id, r) }}
}

func stop(id vm.InstanceID, grace time.Duration) action {
	return action{name: "stop", options: options{Grace: grace}, calls: []driverCall{
		{"stop", func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Stop(ctx, id, grace, r) }},
	}}
}

func reboot(id vm.InstanceID, grace time.Duration) action {
	return action{name: "reboot", options: options{Grace: grace}, revives: true, calls: []driverCall{
		powerCall("reboot", func(ctx context.Context, p drivers.Rebooter, r drivers.Report) error {
			return p.Reboot(ctx, id, grace, r)
		}),
	}}
}

func pause(id vm.InstanceID) action {
	return action{name: "pause", calls: []driverCall{
		powerCall("pause", func(ctx context.Context, p drivers.Pauser, r drivers.Report) error { return p.Pause(ctx, id, r) }),
	}}
}

func unpause(id vm.InstanceID) action {
	return action{name: "unpause", revives: true, calls: []driverCall{
		powerCall("unpause", func(ctx context.Context, p drivers.Pauser, r drivers.Report) error { return p.Unpause(ctx, id, r) }),
	}}
}

func suspend(id vm.InstanceID) action {
	return action{name: "suspend", calls: []driverCall{
		powerCall("suspend", func(ctx context.Context, p drivers.Suspender, r drivers.Report) error { return p.Suspend(ctx, id, r) }),
	}}
}

func resume(id vm.InstanceID) action {
	return action{name: "resume", revives: true, calls: []driverCall{
		powerCall("resume", func(ctx context.Context, p drivers.Suspender, r drivers.Report) error { return p.Resume(ctx, id, r) }),
	}}
}

func rescue(id vm.InstanceID, image drivers.Image) action {
	return action{name: "rescue", options: options{Image: &image}, revives: true, calls: []driverCall{
		powerCall("rescue", func(ctx context.Context, p drivers.Rescuer, r drivers.Report) error {
			return p.Rescue(ctx, id, image, r)
		}),
	}}
}

func unrescue(id vm.InstanceID) action {
	return action{name: "unrescue", revives: true, calls: []driverCall{
		powerCall("unrescue", func(ctx context.Context, p drivers.Rescuer, r drivers.Report) error { return p.Unrescue(ctx, id, r) }),
	}}
}

// rebuild makes a disk: of a deleted instance that would be as wrong as its start.
func rebuild(spec drivers.Spec) action {
	return action{name: "rebuild", options: options{Spec: &spec}, revives: true, calls: []driverCall{
		powerCall("rebuild", func(ctx context.Context, p drivers.Rebuilder, r drivers.Report) error { return p.Rebuild(ctx, spec, r) }),
	}}
}

// destroy of a deleted instance leaves a tombstone; one that lives on elsewhere, or is made again here, leaves none. The
// half-made images of it go last: nothing writes to them any more.
func destroy(id vm.InstanceID, deleted bool, images []vm.ImageID) action {
	calls := []driverCall{
		{"destroy", func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Destroy(ctx, id, r) }},
	}
	for _, image := range images {
		calls = append(calls, dropCall(image))
	}
	return action{name: "destroy", options: options{Tombstone: deleted, Drops: images}, deletes: deleted, calls: calls}
}
