package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// SetPassword plays the guest's agent, which keeps a digest.
func (d *Driver) SetPassword(ctx context.Context, id vm.InstanceID, user, password string, report drivers.Report) error {
	return d.run(ctx, "set a password of", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "password", named("password"), func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case !r.executing(), r.faults.noAgent:
				return already, drivers.ErrNoAgent
			}
			r.User, r.Password = user, digest(user, password)
			return changes, nil
		})
	})
}

func digest(user, password string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + password))
	return hex.EncodeToString(sum[:])
}

// HasPassword says whether the guest's user has that password, as far as SetPassword has set it.
func (d *Driver) HasPassword(id vm.InstanceID, user, password string) bool {
	m := d.find(id)
	if m == nil {
		return false
	}
	r := m.rec.Load()
	return r != nil && r.User == user && r.Password == digest(user, password)
}

// Usage tells of vCPUs that run as long as their machine does and wait for nobody.
func (d *Driver) Usage(_ context.Context, id vm.InstanceID) ([]drivers.VCPUUsage, error) {
	m := d.find(id)
	if m == nil {
		return nil, drivers.ErrNoMachine
	}
	r := m.rec.Load()
	if !r.executing() {
		return nil, nil
	}
	all := make([]drivers.VCPUUsage, r.Spec.Size.VCPUs)
	for i := range all {
		all[i].Run = time.Since(r.Since)
	}
	return all, nil
}
