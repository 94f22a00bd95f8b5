package agent

import (
	"context"

	"leasehold/drivers"
	"leasehold/vm"
)

// The actions that make images of a machine's disk. An image outlives its machine, and is no reason to keep it: none of
// them revives.

func snapshot(id vm.InstanceID, image vm.ImageID) action {
	return action{name: "snapshot", options: options{Saves: image}, calls: []driverCall{
		powerCall("snapshot", func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) error {
			return p.Snapshot(ctx, id, image, r)
		}),
	}}
}

// export tells size and digest of what it has made, and the journal keeps them: the answer is the same after a restart.
func export(id vm.InstanceID, image vm.ImageID) action {
	file := new(drivers.ImageFile)
	return action{name: "export", options: options{Saves: image}, exports: file, calls: []driverCall{
		powerCall("export", func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) (err error) {
			*file, err = p.Export(ctx, id, image, r)
			return err
		}),
	}}
}

func drop(image vm.ImageID) action {
	return action{name: "drop", options: options{Saves: image}, calls: []driverCall{dropCall(image)}}
}

// dropCall has nothing to do where no image can be: it is also the undo of a snapshot that was refused there.
func dropCall(image vm.ImageID) driverCall {
	return driverCall{"drop", func(ctx context.Context, d drivers.Driver, _ drivers.Report) error {
		if p, ok := d.(drivers.Snapshotter); ok {
			return p.DropImage(ctx, image)
		}
		return nil
	}}
}
