package qemu

import (
	"context"
	"fmt"

	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// Interrupt implements drivers.Interrupter. Nil with kill means that nothing of what was under way can still start the
// machine: the calls have returned, and only then is it looked at for the last time (P2).
func (d *Driver) Interrupt(ctx context.Context, id vm.InstanceID, kill bool) error {
	dir, err := d.folderOf(id)
	if err != nil {
		return nil // what cannot have a folder is not there
	}
	m := d.hold(id, dir)
	defer d.release(m)
	calls := m.cancelCalls(errInterrupted)
	if !kill {
		return nil
	}
	if err := m.kill(ctx, shim.Interrupt); err != nil {
		return err
	}
	for _, c := range calls {
		select {
		case <-c.ended:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the calls of %s: %w", id, context.Cause(ctx))
		}
	}
	return m.kill(ctx, shim.Interrupt)
}
