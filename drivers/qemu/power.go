package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// Pause implements drivers.Pauser. Pausing what is paused changes nothing.
func (d *Driver) Pause(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	report(progress("pause", 0, 1, ""))
	s, err := m.executing(ctx)
	if err != nil {
		return fmt.Errorf("cannot pause %s: %w", id, err)
	}
	if s.power == vm.PowerPaused {
		return nil
	}
	if err := m.main.do(ctx, "stop", nil, nil); err != nil {
		return fmt.Errorf("cannot pause %s: %w", id, err)
	}
	m.expect(vm.PowerPaused)
	return nil
}

// Unpause implements drivers.Pauser.
func (d *Driver) Unpause(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	report(progress("unpause", 0, 1, ""))
	s, err := m.executing(ctx)
	if err != nil {
		return fmt.Errorf("cannot unpause %s: %w", id, err)
	}
	switch {
	case s.power == vm.PowerRunning:
		return nil
	case s.word == wordPrelaunch: // I2 of the seam: a Start that was cut short is for Start to end
		return fmt.Errorf("cannot unpause %s: it was never started", id)
	case s.word == wordInmigrate: // and a Resume for Resume
		return fmt.Errorf("cannot unpause %s: %w", id, errSaved)
	}
	return m.cont(ctx)
}

// executing is the state of a machine that has vCPUs to pause or to let go on; any other is an error.
func (m *machine) executing(ctx context.Context) (status, error) {
	if _, err := m.require(); err != nil {
		return status{}, err
	}
	s, err := m.ask(ctx)
	if errors.Is(err, errOff) {
		s, err = statusOff(m.dir), nil
	}
	switch {
	case err != nil:
		return s, err
	case s.power == vm.PowerSuspended:
		return s, errSaved
	case s.power == vm.PowerRunning:
		return s, m.forgetSpent() // a pause must not look like a resume that was cut short
	case s.power != vm.PowerPaused:
		return s, fmt.Errorf("it is %s", s.word)
	}
	return s, nil
}

// Reboot implements drivers.Rebooter, by a new process: a guest that is reset in the first milliseconds of its boot hangs
// in its firmware for ever, and a hypervisor that hangs is got rid of as well. Open consoles end. A machine that was
// started once and is off comes up, because a reboot that was cut short may have left it so (I1 of the seam). A suspended
// one is refused, as by Start.
func (d *Driver) Reboot(ctx context.Context, id vm.InstanceID, grace time.Duration, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.require(); err != nil {
		return err
	}
	if saved, err := m.saved(); err != nil || saved {
		return fmt.Errorf("cannot reboot %s: %w", id, cmp.Or(err, errSaved))
	}
	alive, err := m.alive()
	if err != nil {
		return fmt.Errorf("cannot reboot %s: %w", id, err)
	}
	if !alive && statusOff(m.dir).word == wordNotStarted {
		return fmt.Errorf("cannot reboot %s: it was never started", id)
	}
	report(progress("reboot", 0, 0, ""))
	if err := m.askGuest(ctx, grace, "reboot", report); err != nil && !errors.Is(err, errDeaf) {
		return err
	}
	if err := m.powerOff(ctx); err != nil {
		return err
	}
	return m.start(ctx, as("reboot", report))
}
