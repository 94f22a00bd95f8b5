package tasks

import (
	"time"

	"leasehold/fsm"
	"leasehold/vm"
)

// Follow writes into an idle instance the state that its machine was seen in, by the rule that the tables of package fsm
// have for it. It is the one change of a vm_state that no task makes.
func Follow(in *vm.Instance, rule fsm.Aftersight, seen vm.Observed, now time.Time) {
	in.State, in.Since, in.UpdatedAt, in.Error = rule.To, now, now, nil
	if rule.To != vm.Error {
		return
	}
	in.Error = &vm.Fault{Reason: vm.ReasonDriver, Message: "its machine was seen " + sightOf(seen) + ": " + rule.Why, Allowed: rule.Allowed, Since: now}
}

// sightOf is what was seen, as a person would say it.
func sightOf(seen vm.Observed) string {
	if seen.Detail == "" {
		return string(seen.PowerState) + " on host " + string(seen.Host)
	}
	return string(seen.PowerState) + " (" + seen.Detail + ") on host " + string(seen.Host)
}
