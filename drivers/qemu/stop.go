package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/qmp"
	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// The patience with a hypervisor that is to end.
const (
	quitAnswer = 2 * time.Second  // to say that it will quit; then it counts as hung
	quitFlush  = 10 * time.Second // to write out what it has cached of the disk, once it has said so
	shimAnswer = 2 * time.Second  // the shim's, to kill it; a kill takes milliseconds
	askAgain   = 2 * time.Second  // a guest that is booting may miss the power button; doubled with every try
)

// Stop implements drivers.Driver. The memory of a suspended machine, which cannot be asked, is given up.
func (d *Driver) Stop(ctx context.Context, id vm.InstanceID, grace time.Duration, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.require(); err != nil {
		return err
	}
	report(progress("stop", 0, 0, ""))
	if err := m.askGuest(ctx, grace, "stop", report); err != nil && !errors.Is(err, errDeaf) {
		return err
	}
	return m.shutOff(ctx)
}

// errDeaf says that the guest did not power itself off in time.
var errDeaf = errors.New("the guest did not obey")

// askGuest presses the power button and waits up to grace for the guest to obey; nil when it has, or no process is left.
// errDeaf says that the power must be cut: grace is over, or the guest cannot hear.
func (m *machine) askGuest(ctx context.Context, grace time.Duration, phase string, report drivers.Report) error {
	alive, err := m.alive()
	switch {
	case err != nil || !alive:
		return err
	case grace <= 0:
		return errDeaf
	}
	began := time.Now()
	patience, cancel := context.WithTimeoutCause(ctx, grace, errDeaf)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	var press, told time.Time
	again := askAgain
	for {
		s, err := m.ask(patience)
		switch {
		case errors.Is(err, errOff), err == nil && s.power == vm.PowerShutdown:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("cannot wait for the guest of %s: %w", m.id, context.Cause(ctx))
		case err != nil || s.power != vm.PowerRunning:
			return errDeaf
		case time.Now().After(press):
			press, again = time.Now().Add(again), 2*again
			_ = m.main.do(patience, "system_powerdown", nil, nil) // a failure shows at the next look
		}
		if time.Since(told) >= time.Second { // it moves towards the end of grace, and the hypervisor has answered (P7)
			told = time.Now()
			report(progress(phase, int64(time.Since(began).Seconds()), int64(grace.Seconds()), "s"))
		}
		select {
		case <-look.C:
		case <-patience.Done():
		}
	}
}

// powerOff ends the machine's process and keeps the disk as the guest saw it: QEMU is asked to quit, so that it writes
// out what it has cached, and killed when it does not.
func (m *machine) powerOff(ctx context.Context) error {
	alive, err := m.alive()
	if err == nil && alive {
		err = m.quit(ctx)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("cannot end %s: %w", m.id, context.Cause(ctx))
	}
	if err != nil {
		m.d.log.Warn("it does not quit and is killed", "instance", m.id, "error", err)
	}
	return m.kill(ctx, shim.Stop)
}

func (m *machine) quit(ctx context.Context) error {
	ask, cancel := context.WithTimeout(ctx, quitAnswer)
	defer cancel()
	err := m.main.do(ask, "quit", nil, nil)
	if err != nil && !errors.Is(err, qmp.ErrClosed) && !errors.Is(err, errOff) {
		return err
	}
	flush, cancel := context.WithTimeout(ctx, quitFlush)
	defer cancel()
	return folder.WaitFree(flush, m.dir)
}

// kill ends every process of the machine for sure and returns nil only when none is left (P2). The shim does it, so that
// it is written down why; where the shim does not answer, the cgroup with the shim in it and what holds the lock is
// killed.
func (m *machine) kill(ctx context.Context, why shim.Why) error {
	alive, err := m.alive()
	if err == nil && alive {
		ask, cancel := context.WithTimeout(ctx, shimAnswer)
		_ = shim.Kill(ask, m.dir, why)  // whatever comes back,
		_ = folder.WaitFree(ask, m.dir) // it is the lock that tells
		cancel()
		alive, err = m.alive()
	}
	if err == nil && alive && ctx.Err() != nil { // which says nothing about the shim
		return fmt.Errorf("cannot end %s: %w", m.id, context.Cause(ctx))
	}
	if err == nil && alive {
		m.d.log.Warn("the shim does not answer and is killed", "instance", m.id, "asked", why)
		err = m.killAll(ctx, why)
	}
	if err = errors.Join(err, m.group.Kill(ctx)); err != nil {
		return fmt.Errorf("cannot end %s: %w", m.id, err)
	}
	m.expect(statusOff(m.dir).power)
	return nil
}

// killAll ends the machine together with its shim. What the shim cannot write down any more is written first, so that it
// is there whatever happens in between; while a process lives nobody reads it.
func (m *machine) killAll(ctx context.Context, why shim.Why) error {
	return errors.Join(
		shim.WriteExit(m.dir, shim.Exit{Signal: 9, Asked: why, At: time.Now().UTC()}),
		m.group.Kill(ctx), folder.KillHolders(m.dir), folder.WaitFree(ctx, m.dir),
	)
}
