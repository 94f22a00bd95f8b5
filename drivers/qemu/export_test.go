package qemu

import "leasehold/drivers"

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
