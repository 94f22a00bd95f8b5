package qemu

import (
	"context"
	"errors"
	"time"

	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// The life of a saved memory. Each arrow is one durable change of a name, and a crash leaves one of these.
//
//	memory.part ----> memory -----> memory.spent -----> (nothing)
//	      suspend: whole    before cont         after cont
//
// While it is called memory nothing of the machine has executed since it was made: whatever lets the machine execute
// renames it first. Memory that is older than its disk is never loaded, wherever anything was killed.

// errSaved refuses to begin anew what could go on.
var errSaved error = vm.Refuse(vm.ReasonStateForbids, "its memory is saved: resume it, or stop it to give that up")

// saved says whether there is a memory that the machine can go on from.
func (m *machine) saved() (bool, error) { return folder.Has(m.dir, folder.Memory) }

// spend comes right before the machine executes. A copying that was left is ended too: it would stop the machine again
// at its end.
func (m *machine) spend(ctx context.Context) error {
	if err := m.endSaving(ctx); err != nil {
		return err
	}
	if saved, err := m.saved(); err != nil || !saved {
		return err
	}
	return folder.Rename(m.dir, folder.Memory, folder.SpentMemory)
}

// forgetSpent comes after the machine has executed.
func (m *machine) forgetSpent() error {
	if spent, err := folder.Has(m.dir, folder.SpentMemory); err != nil || !spent {
		return err
	}
	return folder.Forget(m.dir, folder.SpentMemory)
}

// giveUpMemory makes a machine without a process one that is off, if it was suspended.
func (m *machine) giveUpMemory() error {
	names := []string{folder.Part(folder.Memory), folder.Memory, folder.SpentMemory}
	var left bool
	for _, name := range names {
		has, err := folder.Has(m.dir, name)
		if err != nil {
			return err
		}
		left = left || has
	}
	if !left {
		return nil
	}
	if saved, err := m.saved(); err != nil {
		return err
	} else if saved { // however its process ended, it ends now, and as somebody wants
		if err := m.endWell(); err != nil {
			return err
		}
	}
	if err := folder.Forget(m.dir, names...); err != nil {
		return err
	}
	m.expect(statusOff(m.dir).power)
	return nil
}

// endWell has a machine without a process count as one that was stopped.
func (m *machine) endWell() error {
	return shim.WriteExit(m.dir, shim.Exit{Asked: shim.Stop, At: time.Now().UTC()})
}

// endSaving ends a copying of memory that somebody has begun and left, and removes what it has written.
func (m *machine) endSaving(ctx context.Context) error {
	part := folder.Part(folder.Memory)
	if begun, err := folder.Has(m.dir, part); err != nil || !begun {
		return err
	}
	if err := m.cancelMigration(ctx); err != nil && !errors.Is(err, errOff) {
		return err
	}
	return folder.Forget(m.dir, part)
}
