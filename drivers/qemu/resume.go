package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// incoming has a new process wait for the memory that it is to begin with. It comes last on the command line.
var incoming = []string{"-incoming", "defer"}

// Resume implements drivers.Suspender.
func (d *Driver) Resume(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.require(); err != nil {
		return err
	}
	report(progress("resume", 0, 0, "bytes"))
	if err := m.resume(ctx, report); err != nil {
		return fmt.Errorf("cannot resume %s: %w", id, err)
	}
	d.log.Info("resumed", "instance", id)
	return nil
}

// resume goes on where it finds the machine: with a memory that was never executed from, in a new process; with a spent
// one, in the process that has loaded it and was not let go yet.
func (m *machine) resume(ctx context.Context, report drivers.Report) error {
	saved, err := m.saved()
	if err != nil {
		return err
	}
	if saved {
		return m.wakeUp(ctx, report)
	}
	s, err := m.ask(ctx)
	if err != nil && !errors.Is(err, errOff) {
		return err
	}
	if s.power == vm.PowerRunning {
		return m.forgetSpent()
	}
	spent, err := folder.Has(m.dir, folder.SpentMemory)
	if err == nil && spent && s.power == vm.PowerPaused && s.word != wordPrelaunch && s.word != wordInmigrate {
		return m.cont(ctx)
	}
	return errors.Join(err, drivers.ErrNoMemory)
}

// wakeUp loads the memory into a new process and lets it execute. A process that is here has executed nothing since the
// memory was saved, so its end loses nothing.
func (m *machine) wakeUp(ctx context.Context, report drivers.Report) (err error) {
	if err := m.powerOff(ctx); err != nil {
		return err
	}
	launch, err := m.launchAsBefore()
	if err != nil {
		return err
	}
	if err := m.spawn(ctx, launch); err != nil {
		return err
	}
	if err := m.readMemory(ctx, report); err != nil {
		if errors.Is(err, errOff) {
			err = fmt.Errorf("%w: %s", err, m.lastWords())
		}
		if ctx.Err() == nil { // it is suspended again
			err = errors.Join(err, m.powerOff(ctx))
		}
		return err
	}
	return m.cont(ctx)
}

// launchAsBefore is the command line of the process whose memory was saved: every device must be there again, also when
// a machine of today is given others.
func (m *machine) launchAsBefore() (shim.Launch, error) {
	var l shim.Launch
	if err := folder.ReadJSON(m.dir, folder.Launch, &l); err != nil {
		return l, err
	}
	if n := len(l.Args) - len(incoming); n >= 0 && slices.Equal(l.Args[n:], incoming) { // a resume was cut short
		l.Args = l.Args[:n]
	}
	l.Program, l.Cgroup, l.Args = m.d.cfg.QEMU, m.group, slices.Concat(l.Args, incoming)
	return l, nil
}

// readMemory returns when QEMU has read all of the memory, and executes nothing yet. It and we read through one open
// file, so its position tells how far QEMU is.
func (m *machine) readMemory(ctx context.Context, report drivers.Report) error {
	f, err := os.Open(filepath.Join(m.dir, folder.Memory))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := m.main.give(ctx, f, folder.Memory); err != nil {
		return err
	}
	if err := m.main.do(ctx, "migrate-incoming", map[string]string{"uri": "fd:" + folder.Memory}, nil); err != nil {
		return err
	}
	due, last := every(meterEvery), int64(0)
	return m.endOfMigration(ctx, func(migration) {
		if now, err := f.Seek(0, io.SeekCurrent); err == nil && now > last && due() {
			last = now
			report(progress("resume", now, info.Size(), "bytes"))
		}
	})
}
