package qemu

import (
	"context"
	"os"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// The pure parts, for tables.
var (
	ParseVersion  = parseVersion
	NewestMachine = newestMachine
	ChooseAccel   = chooseAccel
)

// Arguments is the command line of a machine under tcg.
func Arguments(s drivers.Spec, machine string, firmware []string) []string {
	return hypervisor{accel: AccelTCG}.arguments(definition{Machine: machine, Spec: s}, false, firmware)
}

// PowerOf is what a run state of QEMU means.
func PowerOf(word string) string { return string(statusOf(word).power) }

// Hub is the events' distributor.
type Hub = hub

// Subscribe, Send and Close are its methods.
var (
	Subscribe = (*hub).subscribe
	Send      = (*hub).send
	CloseHub  = (*hub).close
)

// SaveOnly is Suspend by an agent that dies when all memory is written.
func (d *Driver) SaveOnly(ctx context.Context, id vm.InstanceID) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := m.main.do(ctx, "stop", nil, nil); err != nil {
		return err
	}
	return m.writeMemory(ctx, func(vm.Progress) {})
}

// SaveSlowly is Suspend by an agent that dies long before all memory is written.
func (d *Driver) SaveSlowly(ctx context.Context, id vm.InstanceID) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	f, err := os.Create(filepath.Join(m.dir, folder.Part(folder.Memory)))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, step := range []func() error{
		func() error { return m.main.do(ctx, "stop", nil, nil) },
		func() error {
			return m.main.do(ctx, "migrate-set-parameters", map[string]int{"max-bandwidth": 1000, "downtime-limit": 1}, nil)
		},
		func() error { return m.main.give(ctx, f, "memory") },
		func() error { return m.main.do(ctx, "migrate", map[string]string{"uri": "fd:memory"}, nil) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// LoadOnly is Resume by an agent that dies when all is read.
func (d *Driver) LoadOnly(ctx context.Context, id vm.InstanceID) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	launch, err := m.launchAsBefore()
	if err != nil {
		return err
	}
	if err := m.spawn(ctx, launch); err != nil {
		return err
	}
	return m.readMemory(ctx, func(vm.Progress) {})
}

// OnFreeze and OnFreezeError play a guest that can be held still, and one that is waited for in vain.
func (d *Driver) OnFreeze(freeze func() (thaw func())) {
	d.freeze = func(context.Context, *machine) (func(), error) { return freeze(), nil }
}

func (d *Driver) OnFreezeError(err error) {
	d.freeze = func(context.Context, *machine) (func(), error) { return nil, err }
}

// Copying are the jobs in the hypervisor that copy the machine's disk.
func (d *Driver) Copying(ctx context.Context, id vm.InstanceID) (ids []string) {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return []string{err.Error()}
	}
	defer done()
	jobs, err := m.copies(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

// CopyOnly is Snapshot by an agent that dies when the hypervisor has begun.
func (d *Driver) CopyOnly(ctx context.Context, id vm.InstanceID, image vm.ImageID) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	dir, err := d.shelf.place(image)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, folder.Part(copied))
	for _, step := range []func() error{
		func() error { return d.shelf.make(dir) },
		func() error { return folder.WriteJSON(dir, copying, source{Instance: id}) },
		func() error { return d.images.tool.create(ctx, path, 1) },
		func() error { return m.openCopy(ctx, path) },
		func() error { return m.beginCopy(ctx, status{}, copyJob+string(image)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Known is the power state that was told last of a machine.
func (d *Driver) Known(id vm.InstanceID) vm.PowerState {
	dir, err := d.folderOf(id)
	if err != nil {
		return ""
	}
	m := d.hold(id, dir)
	defer d.release(m)
	return m.lastKnown()
}

// Freeze freezes the file systems of a machine, as a call that copies its disk does.
func (d *Driver) Freeze(ctx context.Context, id vm.InstanceID) (thaw func(), err error) {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return nil, err
	}
	defer done()
	return m.freeze(ctx)
}

// LeaveFrozen is what is left of Freeze when the process dies.
func (d *Driver) LeaveFrozen(ctx context.Context, id vm.InstanceID) error {
	ctx, m, done, err := d.begin(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	agent, err := m.agent(ctx, freezePatience)
	if err != nil {
		return err
	}
	defer agent.Close()
	return freezeAnew(ctx, agent)
}
