package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// order is one step a conductor wants done.
type order struct {
	claim
	sequence int64
	step     string // the conductor's name for it
	action   action
}

// action is what is to be done, with its options. It says itself what it does to the two rules that outlive it.
type action struct {
	name    string
	options options
	revives bool // makes or starts the machine: refused after a delete
	deletes bool // leaves a tombstone when done
	calls   []driverCall
	made    *drivers.ImageFile // what an export has made, when it is done; nil for others
}

// options is everything beside the name that makes two actions the same or not.
type options struct {
	Spec      *drivers.Spec  `json:"spec,omitempty"`
	Grace     time.Duration  `json:"grace,omitempty"`
	Tombstone bool           `json:"tombstone,omitempty"`
	Image     *drivers.Image `json:"image,omitempty"`
	Saves     vm.ImageID     `json:"saves,omitempty"`
	Drops     []vm.ImageID   `json:"drops,omitempty"`
	User      string         `json:"user,omitempty"`
	Sealed    string         `json:"sealed,omitempty"` // digest of a secret in its sealed form
}

// driverCall is one call of the driver. The fence is compared before each.
type driverCall struct {
	name string
	do   func(ctx context.Context, d drivers.Driver, report drivers.Report) error
}

// digest is the same for the same step only.
func (o order) digest() string {
	text, err := json.Marshal(struct {
		Step      string        `json:"step"`
		Action    string        `json:"action"`
		Instance  vm.InstanceID `json:"instance"`
		Resources []vm.Resource `json:"resources"`
		options
	}{o.step, o.action.name, o.instance, o.resources, o.action.options})
	if err != nil {
		panic(fmt.Sprintf("internal error: cannot encode an order: %v", err)) // strings and numbers only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

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

// by is a call of an optional power.
func by[P any](name string, do func(ctx context.Context, p P, r drivers.Report) error) driverCall {
	return driverCall{name, func(ctx context.Context, d drivers.Driver, r drivers.Report) error {
		p, ok := any(d).(P)
		if !ok {
			return drivers.ErrUnsupported
		}
		return do(ctx, p, r)
	}}
}

func reboot(id vm.InstanceID, grace time.Duration) action {
	return action{name: "reboot", options: options{Grace: grace}, revives: true, calls: []driverCall{
		by("reboot", func(ctx context.Context, p drivers.Rebooter, r drivers.Report) error {
			return p.Reboot(ctx, id, grace, r)
		}),
	}}
}

func pause(id vm.InstanceID) action {
	return action{name: "pause", calls: []driverCall{
		by("pause", func(ctx context.Context, p drivers.Pauser, r drivers.Report) error { return p.Pause(ctx, id, r) }),
	}}
}

func unpause(id vm.InstanceID) action {
	return action{name: "unpause", revives: true, calls: []driverCall{
		by("unpause", func(ctx context.Context, p drivers.Pauser, r drivers.Report) error { return p.Unpause(ctx, id, r) }),
	}}
}

func suspend(id vm.InstanceID) action {
	return action{name: "suspend", calls: []driverCall{
		by("suspend", func(ctx context.Context, p drivers.Suspender, r drivers.Report) error { return p.Suspend(ctx, id, r) }),
	}}
}

func resume(id vm.InstanceID) action {
	return action{name: "resume", revives: true, calls: []driverCall{
		by("resume", func(ctx context.Context, p drivers.Suspender, r drivers.Report) error { return p.Resume(ctx, id, r) }),
	}}
}

func rescue(id vm.InstanceID, image drivers.Image) action {
	return action{name: "rescue", options: options{Image: &image}, revives: true, calls: []driverCall{
		by("rescue", func(ctx context.Context, p drivers.Rescuer, r drivers.Report) error {
			return p.Rescue(ctx, id, image, r)
		}),
	}}
}

func unrescue(id vm.InstanceID) action {
	return action{name: "unrescue", revives: true, calls: []driverCall{
		by("unrescue", func(ctx context.Context, p drivers.Rescuer, r drivers.Report) error { return p.Unrescue(ctx, id, r) }),
	}}
}

// rebuild makes a disk for a machine that is there; it starts nothing, and without a machine the driver refuses it.
func rebuild(spec drivers.Spec) action {
	return action{name: "rebuild", options: options{Spec: &spec}, revives: true, calls: []driverCall{
		by("rebuild", func(ctx context.Context, p drivers.Rebuilder, r drivers.Report) error { return p.Rebuild(ctx, spec, r) }),
	}}
}

func snapshot(id vm.InstanceID, image vm.ImageID) action {
	return action{name: "snapshot", options: options{Saves: image}, calls: []driverCall{
		by("snapshot", func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) error {
			return p.Snapshot(ctx, id, image, r)
		}),
	}}
}

// export tells size and digest of the image that it makes: they are part of its answer, also of a repeated one.
func export(id vm.InstanceID, image vm.ImageID) action {
	made := new(drivers.ImageFile)
	return action{name: "export", options: options{Saves: image}, made: made, calls: []driverCall{
		by("export", func(ctx context.Context, p drivers.Snapshotter, r drivers.Report) (err error) {
			*made, err = p.Export(ctx, id, image, r)
			return err
		}),
	}}
}

func dropImage(image vm.ImageID) action {
	return action{name: "drop", options: options{Saves: image}, calls: []driverCall{dropCall(image)}}
}

func dropCall(image vm.ImageID) driverCall {
	return by("drop", func(ctx context.Context, p drivers.Snapshotter, _ drivers.Report) error {
		return p.DropImage(ctx, image)
	})
}

// setPassword opens what is sealed to this host right before the guest is told. What identifies the step is the sealed
// form: the password itself is nowhere but in this call.
func setPassword(id vm.InstanceID, user string, secret []byte, open func() ([]byte, error)) action {
	sum := sha256.Sum256(secret)
	return action{name: "set_password", options: options{User: user, Sealed: hex.EncodeToString(sum[:])}, calls: []driverCall{
		by("password", func(ctx context.Context, p drivers.Passworder, r drivers.Report) error {
			password, err := open()
			if err != nil {
				return vm.Refuse(vm.ReasonInvalidArgument, "cannot set the password of instance %s: it was sealed for another host, or for another data directory of this one: %v", id, err)
			}
			return p.SetPassword(ctx, id, user, string(password), r)
		}),
	}}
}

// destroy of a deleted instance leaves a tombstone; one that lives on elsewhere, or is made again here, leaves none. Images
// that were being made of it go first, while the machine still says that something is here.
func destroy(id vm.InstanceID, deleted bool, images ...vm.ImageID) action {
	a := action{name: "destroy", options: options{Tombstone: deleted, Drops: images}, deletes: deleted}
	for _, image := range images {
		a.calls = append(a.calls, dropCall(image))
	}
	a.calls = append(a.calls, driverCall{
		"destroy", func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Destroy(ctx, id, r) },
	})
	return a
}
