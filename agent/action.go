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
	exports *drivers.ImageFile // where a call leaves what it has made, for the answer; nil when none does
}

// options is everything beside the name that makes two actions the same or not. Of a secret it has a digest of what was
// sealed: it goes into the journal's digest of the step, and secrets do not, in whatever form.
type options struct {
	Spec      *drivers.Spec  `json:"spec,omitempty"`
	Grace     time.Duration  `json:"grace,omitempty"`
	Tombstone bool           `json:"tombstone,omitempty"`
	Image     *drivers.Image `json:"image,omitempty"` // of a rescue disk
	Saves     vm.ImageID     `json:"saves,omitempty"` // the image that is made, or given up
	Drops     []vm.ImageID   `json:"drops,omitempty"` // images that go with the machine
	User      string         `json:"user,omitempty"`
	Sealed    string         `json:"sealed,omitempty"`
}

// driverCall is one call of the driver. The fence is compared before each.
type driverCall struct {
	name string
	do   func(ctx context.Context, d drivers.Driver, report drivers.Report) error
}

// powerCall is a call that only a driver with the power P can make.
func powerCall[P any](name string, do func(ctx context.Context, p P, report drivers.Report) error) driverCall {
	return driverCall{name, func(ctx context.Context, d drivers.Driver, report drivers.Report) error {
		p, ok := d.(P)
		if !ok {
			return drivers.ErrUnsupported
		}
		return do(ctx, p, report)
	}}
}

// digest is the same for the same step only.
func (o order) digest() string {
	text, err := json.Marshal(struct {
		Step      string        `json:"step"`
		Action    string        `json:"action"`
		Instance  vm.InstanceID `json:"instance"`
		Resources []vm.Resource `json:"resources"`
		options
	}{o.step, o.action.name, o.instance, o.resources, o.action.options.lasting()})
	if err != nil {
		panic(fmt.Sprintf("internal error: cannot encode an order: %v", err)) // strings and numbers only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// lasting leaves out where the host with an image answers now: it may have moved when the same step is asked for again.
func (o options) lasting() options {
	if o.Spec != nil {
		spec := *o.Spec
		spec.Image.Address = ""
		o.Spec = &spec
	}
	if o.Image != nil {
		image := *o.Image
		image.Address = ""
		o.Image = &image
	}
	return o
}
