package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"leasehold/drivers"
	"leasehold/vm"
)

// SetPassword plays the guest's agent, which keeps a digest on the disk that the guest started from.
func (d *Driver) SetPassword(
	ctx context.Context, id vm.InstanceID, user, password string, report drivers.Report,
) error {
	return d.run(ctx, "set a password of", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "password", named("password"), func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case !r.executing(), r.faults.noAgent:
				return already, drivers.ErrNoAgent
			}
			root := r.root()
			*root = root.with("password", fmt.Sprintf("%q %s", user, digest(user, password)))
			return changes, nil
		})
	})
}

func digest(user, password string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + password))
	return hex.EncodeToString(sum[:])
}

// GuestPassword tells whose password was last set on the disk that the machine starts from, and the digest that is kept
// of the two. Both are empty when none was.
func (d *Driver) GuestPassword(id vm.InstanceID) (user, kept string) {
	m := d.find(id)
	if m == nil {
		return "", ""
	}
	r, err := m.copied()
	if err != nil {
		return "", ""
	}
	_, _ = fmt.Sscanf(r.root().of("password"), "%q %s", &user, &kept)
	return user, kept
}

// HasPassword says whether that user's password was the last that was set, and is that.
func (d *Driver) HasPassword(id vm.InstanceID, user, password string) bool {
	who, kept := d.GuestPassword(id)
	return who == user && kept == digest(user, password)
}
