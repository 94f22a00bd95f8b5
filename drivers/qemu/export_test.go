package qemu

import (
	"context"

	"leasehold/drivers"
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
	return hypervisor{accel: AccelTCG}.arguments(definition{Machine: machine, Spec: s}, firmware)
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
