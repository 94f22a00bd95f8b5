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
}

// options is everything beside the name that makes two actions the same or not.
type options struct {
	Spec      *drivers.Spec `json:"spec,omitempty"`
	Grace     time.Duration `json:"grace,omitempty"`
	Tombstone bool          `json:"tombstone,omitempty"`
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

func reboot(id vm.InstanceID, grace time.Duration) action {
	return action{name: "reboot", options: options{Grace: grace}, revives: true, calls: []driverCall{
		{"reboot", func(ctx context.Context, d drivers.Driver, r drivers.Report) error {
			p, ok := d.(drivers.Rebooter)
			if !ok {
				return drivers.ErrUnsupported
			}
			return p.Reboot(ctx, id, grace, r)
		}},
	}}
}

func pause(id vm.InstanceID) action {
	return action{name: "pause", calls: []driverCall{
		{"pause", func(ctx context.Context, d drivers.Driver, r drivers.Report) error {
			p, ok := d.(drivers.Pauser)
			if !ok {
				return drivers.ErrUnsupported
			}
			return p.Pause(ctx, id, r)
		}},
	}}
}

func unpause(id vm.InstanceID) action {
	return action{name: "unpause", revives: true, calls: []driverCall{
		{"unpause", func(ctx context.Context, d drivers.Driver, r drivers.Report) error {
			p, ok := d.(drivers.Pauser)
			if !ok {
				return drivers.ErrUnsupported
			}
			return p.Unpause(ctx, id, r)
		}},
	}}
}

// destroy of a deleted instance leaves a tombstone; one that lives on elsewhere, or is made again here, leaves none.
func destroy(id vm.InstanceID, deleted bool) action {
	return action{name: "destroy", options: options{Tombstone: deleted}, deletes: deleted, calls: []driverCall{
		{"destroy", func(ctx context.Context, d drivers.Driver, r drivers.Report) error { return d.Destroy(ctx, id, r) }},
	}}
}
