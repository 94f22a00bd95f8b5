package conductor

import (
	"slices"

	"leasehold/coord"
	"leasehold/vm"
)

// powers are what a verb needs of the host's driver beside the basics, by the words that drivers tell in their Info.
var powers = map[vm.Verb]string{
	vm.Suspend: "suspend", vm.Resume: "suspend", vm.Rescue: "rescue", vm.Unrescue: "rescue", vm.Rebuild: "rebuild",
	vm.Snapshot: "snapshot", vm.SetPassword: "password",
}

// able refuses a verb that the driver of the instance's host does not have: before anything is begun.
func (c *Conductor) able(in *vm.Instance, verb vm.Verb) error {
	need := powers[verb]
	if need == "" || in.Host == "" {
		return nil
	}
	h, _, ok := coord.Load[vm.Host](c.cache, c.keys.Host(in.Host))
	if ok && slices.Contains(h.Powers, need) {
		return nil
	}
	driver := "unknown"
	if ok {
		driver = h.Driver
	}
	return &vm.Refusal{Why: vm.ReasonUnsupported, Host: in.Host, Message: "cannot " + string(verb) + " instance " + string(in.ID) +
		": the driver " + driver + " of host " + string(in.Host) + " does not have that power"}
}
