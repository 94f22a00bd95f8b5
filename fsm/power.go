package fsm

import (
	"slices"

	"leasehold/vm"
)

// Does is what follows when an idle instance is seen in a power state. While a task has it the task decides.
type Does string

// The values of Does. The observation itself is recorded in all of them.
const (
	Keep    Does = "keep"    // record and machine agree, or nothing can be concluded
	Follow  Does = "follow"  // the machine is right: the record enters To
	Correct Does = "correct" // the record is right: a task does Verb in mode Correction
)

// Correction is the mode of the task that puts right what was changed behind our back. Nobody can ask for it by name.
const Correction Mode = "correction"

// PowerRule says what follows for some pairs of vm_state and power_state.
type PowerRule struct {
	In      []vm.State
	Seen    []vm.PowerState
	Does    Does
	To      vm.State  // of Follow
	Verb    vm.Verb   // of Correct
	Allowed []vm.Verb // of Follow into error
	Why     string
}

// PowerRules returns the table. Each pair of vm.States and vm.PowerStates is in exactly one row.
func PowerRules() []PowerRule { return slices.Clone(powerRules) }

var (
	executes  = []vm.State{vm.Active, vm.Rescued}
	repairs   = []vm.Verb{vm.Start, vm.Reboot, vm.Rebuild}
	unsettled = []vm.State{vm.Building, vm.Error, vm.Deleted}
)

var powerRules = []PowerRule{
	{In: unsettled, Seen: vm.PowerStates(), Does: Keep, Why: "what is being made, broken or gone is settled by a task alone"},
	{In: settled(), Seen: []vm.PowerState{vm.PowerNoState}, Does: Keep, Why: "nothing is concluded from silence; it is shown"},

	{In: executes, Seen: []vm.PowerState{vm.PowerRunning}, Does: Keep, Why: "as it should be"},
	{In: executes, Seen: []vm.PowerState{vm.PowerPaused}, Does: Follow, To: vm.Paused, Why: "somebody paused it; unpause is legal and lets it go on"},
	{In: executes, Seen: []vm.PowerState{vm.PowerShutdown}, Does: Follow, To: vm.Stopped, Why: "the guest powered itself off"},
	{In: executes, Seen: []vm.PowerState{vm.PowerSuspended}, Does: Follow, To: vm.Suspended, Why: "its memory is on disk and must not be lost by a start"},
	{In: []vm.State{vm.Active, vm.Paused, vm.Suspended, vm.Rescued}, Seen: []vm.PowerState{vm.PowerCrashed}, Does: Follow, To: vm.Error, Allowed: repairs, Why: "it ended badly; its disk is there"},

	{In: []vm.State{vm.Paused}, Seen: []vm.PowerState{vm.PowerPaused}, Does: Keep, Why: "as it should be"},
	{In: []vm.State{vm.Paused}, Seen: []vm.PowerState{vm.PowerRunning}, Does: Correct, Verb: vm.Pause, Why: "it was let go behind our back; its owner wants it to stand still"},
	{In: []vm.State{vm.Paused}, Seen: []vm.PowerState{vm.PowerShutdown}, Does: Follow, To: vm.Stopped, Why: "its memory is gone, its disk is there"},
	{In: []vm.State{vm.Paused}, Seen: []vm.PowerState{vm.PowerSuspended}, Does: Follow, To: vm.Suspended, Why: "its memory is on disk and must not be lost by a start"},

	{In: []vm.State{vm.Suspended}, Seen: []vm.PowerState{vm.PowerSuspended}, Does: Keep, Why: "as it should be"},
	{In: []vm.State{vm.Suspended}, Seen: []vm.PowerState{vm.PowerRunning, vm.PowerPaused}, Does: Correct, Verb: vm.Suspend, Why: "it was resumed behind our back; its owner wants the host's memory free"},
	{In: []vm.State{vm.Suspended}, Seen: []vm.PowerState{vm.PowerShutdown}, Does: Follow, To: vm.Stopped, Why: "the saved memory is gone, its disk is there"},

	{In: []vm.State{vm.Stopped}, Seen: []vm.PowerState{vm.PowerShutdown, vm.PowerCrashed}, Does: Keep, Why: "it is off, as it should be; how it ended is shown"},
	{In: []vm.State{vm.Stopped}, Seen: []vm.PowerState{vm.PowerRunning, vm.PowerPaused}, Does: Correct, Verb: vm.Stop, Why: "it was started behind our back; its owner wants it off"},
	{In: []vm.State{vm.Stopped}, Seen: []vm.PowerState{vm.PowerSuspended}, Does: Follow, To: vm.Suspended, Why: "its memory is on disk and must not be lost by a start"},
}

// settled are the states whose machine is expected to be in one power state.
func settled() []vm.State {
	return []vm.State{vm.Active, vm.Paused, vm.Suspended, vm.Stopped, vm.Rescued}
}

// corrections are the rows of mode Correction: the way back to the vm_state that the record has.
var corrections = []Row{
	{From: vm.Paused, On: vm.Pause, Mode: Correction, Via: vm.Pausing, To: vm.Paused, Why: "it was let go behind our back"},
	{From: vm.Suspended, On: vm.Suspend, Mode: Correction, Via: vm.Suspending, To: vm.Suspended, Why: "it was resumed behind our back"},
	{From: vm.Stopped, On: vm.Stop, Mode: Correction, Via: vm.PoweringOff, To: vm.Stopped, Why: "it was started behind our back"},
}

// Corrections returns the rows of mode Correction.
func Corrections() []Row { return slices.Clone(corrections) }

// Aftersight is what an observation of an idle instance leads to.
type Aftersight struct {
	Does    Does
	To      vm.State // of Follow
	Verb    vm.Verb  // of Correct
	Mode    Mode     // of Correct
	Allowed []vm.Verb
	Why     string
}

// OnPower finds the rule for an idle instance that is seen in a power state.
func OnPower(s vm.State, seen vm.PowerState) Aftersight {
	i := slices.IndexFunc(powerRules, func(r PowerRule) bool { return slices.Contains(r.In, s) && slices.Contains(r.Seen, seen) })
	if i < 0 {
		return Aftersight{Does: Keep, Why: "no rule knows this pair"}
	}
	r := powerRules[i]
	a := Aftersight{Does: r.Does, To: r.To, Verb: r.Verb, Allowed: slices.Clone(r.Allowed), Why: r.Why}
	if a.Does == Correct {
		a.Mode = Correction
	}
	return a
}

// OnGone is the rule for an idle instance of which its host has nothing any more.
func OnGone(s vm.State) Aftersight {
	if !slices.Contains(settled(), s) {
		return Aftersight{Does: Keep, Why: "what is being made, broken or gone is settled by a task alone"}
	}
	return Aftersight{Does: Follow, To: vm.Error, Why: "its host has nothing of it any more, its disk neither"}
}

// OnHostBoot is OnPower for the first sight after the host was rebooted, which ended every machine on it: that one does not
// execute is no crash and no guest's wish, so the instance's own on_host_boot decides.
func OnHostBoot(s vm.State, seen vm.PowerState, want vm.OnHostBoot) Aftersight {
	off := seen == vm.PowerShutdown || seen == vm.PowerCrashed
	switch {
	case !off || !slices.Contains(settled(), s):
		return OnPower(s, seen)
	case slices.Contains(executes, s) && want != vm.HostBootStopped:
		return Aftersight{Does: Correct, Verb: vm.Reboot, Mode: RebootHard, Why: "its host was rebooted, and it is to run again"}
	case s == vm.Stopped:
		return Aftersight{Does: Keep, Why: "as it should be"}
	}
	return Aftersight{Does: Follow, To: vm.Stopped, Why: "its host was rebooted"}
}
