package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/drivers/qemu/qga"
	"leasehold/vm"
)

var _ drivers.Passworder = (*Driver)(nil)

// passwordPatience is how long SetPassword waits for an agent: one that is up answers within the 0.1 s it takes to look
// at its port, and under emulation on a busy host within ten times that.
const passwordPatience = 3 * time.Second

// SetPassword implements drivers.Passworder. An agent that was told, and then says nothing, may have done it: that is
// drivers.ErrRetry, since doing it again is safe. A refusal is the guest's own, as a *qga.Error.
func (d *Driver) SetPassword(
	ctx context.Context, id vm.InstanceID, user, password string, report drivers.Report,
) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.require(); err != nil {
		return err
	}
	report(progress("password", 0, 2, ""))
	agent, err := m.agent(ctx, passwordPatience)
	if err != nil {
		return fmt.Errorf("cannot set a password in %s: %w", id, err)
	}
	defer agent.Close()
	report(progress("password", 1, 2, ""))
	err = agent.SetPassword(ctx, user, password)
	if errors.Is(err, qga.ErrSilent) {
		err = fmt.Errorf("%w: %w", drivers.ErrRetry, err)
	}
	if err != nil {
		return fmt.Errorf("cannot set a password in %s: %w", id, err)
	}
	report(progress("password", 2, 2, ""))
	d.log.Info("set a password", "instance", id, "user", user)
	return nil
}
