package qemu

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/qmp"
	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// Start implements drivers.Driver. A suspended machine is refused: its memory is not to be lost silently.
func (d *Driver) Start(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	return m.start(ctx, report)
}

// start comes to an executing machine from every state: a living process goes on when it can and is replaced when it has
// come to an end, and without one there is a new one.
func (m *machine) start(ctx context.Context, report drivers.Report) error {
	def, err := m.require()
	if err != nil {
		return err
	}
	if saved, err := m.saved(); err != nil || saved {
		return fmt.Errorf("cannot start %s: %w", m.id, cmp.Or(err, errSaved))
	}
	s, err := m.ask(ctx)
	if err != nil && !errors.Is(err, errOff) {
		return fmt.Errorf("cannot start %s: %w", m.id, err)
	}
	if s.power == vm.PowerRunning {
		return nil
	}
	if s.power == vm.PowerShutdown || s.power == vm.PowerCrashed {
		if err := m.powerOff(ctx); err != nil {
			return err
		}
	}
	if s.power != vm.PowerPaused {
		report(progress("spawn", 0, 1, ""))
		launch, err := m.launch(def)
		if err != nil {
			return fmt.Errorf("cannot start %s: %w", m.id, err)
		}
		if err := m.spawn(ctx, launch); err != nil {
			return err
		}
	}
	report(progress("start", 0, 1, ""))
	return m.cont(ctx)
}

// ask reads the state over the monitor of the calls, which is behind everything that was ever sent there. It waits for
// an answer; errOff when no process is left.
func (m *machine) ask(ctx context.Context) (status, error) {
	for {
		word, err := m.main.word(ctx)
		switch {
		case err == nil:
			return statusOf(word), nil
		case !errors.Is(err, qmp.ErrClosed): // else it has ended, or dropped us and can be asked anew
			return status{}, err
		}
	}
}

// launch is how the machine is started anew.
func (m *machine) launch(def definition) (shim.Launch, error) {
	rescue, err := rescueOf(m.dir)
	return shim.Launch{
		Program:   m.d.cfg.QEMU,
		Args:      m.d.hyper.arguments(def, rescue != nil, m.d.cfg.Firmware),
		Listeners: listeners,
		Cgroup:    m.group,
	}, err
}

// spawn makes the machine's process, which executes nothing yet (I2 of the seam). A process that is alive meanwhile is
// an error (P2).
func (m *machine) spawn(ctx context.Context, l shim.Launch) error {
	if err := shim.Spawn(m.d.cfg.ShimCommand, m.dir, l); err != nil {
		return fmt.Errorf("cannot start %s: %w", m.id, err)
	}
	m.startWatching() //nolint:contextcheck // it watches until Destroy or Close
	_, err := m.main.get(ctx)
	if errors.Is(err, errOff) {
		return fmt.Errorf("cannot start %s: %s: %s", m.id, statusOff(m.dir).word, m.lastWords())
	}
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", m.id, err)
	}
	m.d.log.Info("spawned", "instance", m.id)
	return nil
}

// lastWords is the last line that QEMU, or else the shim, wrote to its standard error.
func (m *machine) lastWords() string {
	for _, name := range []string{folder.QEMULog, folder.ShimLog} {
		log, _ := tail(filepath.Join(m.dir, name), 1024) // no log, no words
		if log = bytes.TrimSpace(log); len(log) > 0 {
			return string(log[bytes.LastIndexByte(log, '\n')+1:])
		}
	}
	return "it left no word"
}

// cont lets the machine execute: the only way to it, so that no memory is left that could be taken for a newer one.
func (m *machine) cont(ctx context.Context) error {
	if err := m.spend(ctx); err != nil {
		return fmt.Errorf("cannot let %s execute: %w", m.id, err)
	}
	if err := m.main.do(ctx, "cont", nil, nil); err != nil {
		return fmt.Errorf("cannot let %s execute: %w", m.id, err)
	}
	m.expect(vm.PowerRunning)
	return m.forgetSpent()
}

// progress is a report of now.
func progress(phase string, done, total int64, unit string) vm.Progress {
	return vm.Progress{Phase: phase, Done: done, Total: total, Unit: unit, At: time.Now().UTC()}
}

// tail reads up to the last limit bytes of a file.
func tail(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(int64(limit), s.Size()))
	n, err := f.ReadAt(b, s.Size()-int64(len(b)))
	if n == len(b) {
		err = nil
	}
	return b[:n], err
}
