package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// Destroy implements drivers.Driver. What the driver cannot read it refuses to destroy.
func (d *Driver) Destroy(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	found, _ := look(m.dir)
	if found == alien {
		return fmt.Errorf("cannot destroy %s: %w", id, errAlien)
	}
	report(progress("destroy", 0, 0, ""))
	if err := m.kill(ctx, shim.Stop); err != nil {
		return err
	}
	if err := m.group.Remove(); err != nil {
		return fmt.Errorf("cannot destroy %s: %w", id, err)
	}
	if found == nothing {
		return nil
	}
	if err := m.remove(ctx); err != nil {
		return fmt.Errorf("cannot destroy %s: %w", id, err)
	}
	m.expect(vm.PowerShutdown) // what is no longer there has nothing to tell
	d.log.Info("destroyed", "instance", id)
	return nil
}

// remove deletes the folder of a machine that has no process: the definition last, so that what is left by a crash in
// between is still known as ours (P6). It holds the lock meanwhile, so nothing is started in a folder that vanishes (P2).
func (m *machine) remove(ctx context.Context) error {
	lock, err := folder.Acquire(m.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == folder.Spec {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := os.Remove(filepath.Join(m.dir, e.Name())); err != nil {
			return err
		}
	}
	if err := folder.Sync(m.dir); err != nil {
		return err
	}
	if err := folder.Remove(m.dir, folder.Spec); err != nil {
		return err
	}
	if err := os.Remove(m.dir); err != nil {
		return err
	}
	return folder.Sync(filepath.Dir(m.dir))
}
