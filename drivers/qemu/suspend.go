package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// The words of processes that do not have the machine's memory whole, or not to themselves.
const (
	wordPrelaunch   = "prelaunch"
	wordInmigrate   = "inmigrate"
	wordPostmigrate = "postmigrate"
)

// Suspend implements drivers.Suspender. A machine that is paused is suspended too. When the copying fails the machine
// executes again as before; when it is only cut short, it stays paused until somebody suspends or unpauses it.
func (d *Driver) Suspend(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.require(); err != nil {
		return err
	}
	report(progress("suspend", 0, 0, "bytes"))
	if err := m.suspend(ctx, report); err != nil {
		return fmt.Errorf("cannot suspend %s: %w", id, err)
	}
	d.log.Info("suspended", "instance", id)
	return nil
}

// suspend ends the process only when the memory is durable. With a memory that is whole already nothing has executed
// since, so a process that is still here is of no use.
func (m *machine) suspend(ctx context.Context, report drivers.Report) error {
	saved, err := m.saved()
	if err != nil {
		return err
	}
	if !saved {
		if err := m.save(ctx, report); err != nil {
			return err
		}
	}
	return m.powerOff(ctx)
}

// save stops the machine and makes its memory a file.
func (m *machine) save(ctx context.Context, report drivers.Report) (err error) {
	s, err := m.executing(ctx)
	if err != nil {
		return err
	}
	if s.word == wordPrelaunch || s.word == wordInmigrate {
		return fmt.Errorf("it has not executed yet (%s)", s.word)
	}
	if s.word == wordPostmigrate { // somebody has come to the end and not said so
		whole, err := folder.Has(m.dir, folder.Part(folder.Memory))
		if err != nil {
			return err
		}
		if whole {
			return m.publishMemory()
		}
		if err := m.cont(ctx); err != nil { // QEMU copies only what has executed since the last time
			return err
		}
		s.power = vm.PowerRunning
	}
	if s.power == vm.PowerRunning {
		if err := m.main.do(ctx, "stop", nil, nil); err != nil {
			return err
		}
		m.expect(vm.PowerPaused)
		defer func() {
			if err != nil && ctx.Err() == nil {
				err = errors.Join(err, m.cont(ctx))
			}
		}()
	}
	if err := errors.Join(m.endCopy(ctx), m.endSaving(ctx), m.forgetSpent()); err != nil {
		return err
	}
	if err := m.writeMemory(ctx, report); err != nil {
		return err
	}
	return m.publishMemory()
}

// writeMemory returns when QEMU has written all of it to memory.part.
func (m *machine) writeMemory(ctx context.Context, report drivers.Report) error {
	if err := m.plain(ctx); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(m.dir, folder.Part(folder.Memory)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.main.give(ctx, f, folder.Memory); err != nil {
		return err
	}
	if err := m.main.do(ctx, "migrate", map[string]string{"uri": "fd:" + folder.Memory}, nil); err != nil {
		return err
	}
	due, last := every(meterEvery), int64(0)
	return m.endOfMigration(ctx, func(q migration) {
		if now := q.RAM.Total - q.RAM.Remaining; now > last && due() {
			last = now
			report(progress("suspend", now, q.RAM.Total, "bytes"))
		}
	})
}

// publishMemory makes the whole memory.part what the machine goes on from. Its disks are durable first: what the guest
// believes to be written must be there when the host loses its power.
func (m *machine) publishMemory() error {
	disks := []string{folder.Disk}
	if rescue, err := rescueOf(m.dir); err != nil {
		return err
	} else if rescue != nil {
		disks = append(disks, folder.RescueDisk)
	}
	for _, name := range append(disks, folder.Part(folder.Memory)) {
		if err := folder.SyncFile(m.dir, name); err != nil {
			return err
		}
	}
	return folder.Publish(m.dir, folder.Memory)
}
