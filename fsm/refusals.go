package fsm

import (
	"slices"

	"leasehold/vm"
)

// RefusalRow says why some verbs are not legal in some states.
type RefusalRow struct {
	In      []vm.State
	On      []vm.Verb
	Already bool // what the verb wants is so already
	Why     string
}

// Refusals returns the table of what is refused. Beside it only what a task, a host or a mode forbids is refused.
func Refusals() []RefusalRow { return slices.Clone(refusals) }

// devices are the verbs that plug something in or out; entered are the states that may be entered from rescued.
var (
	devices = []vm.Verb{vm.AttachVolume, vm.DetachVolume, vm.AttachPort, vm.DetachPort}
	entered = []vm.State{vm.Paused, vm.Suspended, vm.Stopped}
)

var refusals = []RefusalRow{
	{In: []vm.State{vm.Active}, On: []vm.Verb{vm.Start, vm.Unpause, vm.Resume}, Already: true, Why: "it is running"},
	{In: []vm.State{vm.Active}, On: []vm.Verb{vm.Unrescue}, Already: true, Why: "it runs from its own disk"},
	{In: []vm.State{vm.Paused}, On: []vm.Verb{vm.Pause}, Already: true, Why: "it is paused"},
	{In: []vm.State{vm.Suspended}, On: []vm.Verb{vm.Suspend}, Already: true, Why: "it is suspended"},
	{In: []vm.State{vm.Stopped}, On: []vm.Verb{vm.Stop}, Already: true, Why: "it is stopped"},
	{In: []vm.State{vm.Rescued}, On: []vm.Verb{vm.Rescue}, Already: true, Why: "it is rescued"},
	{In: []vm.State{vm.Rescued}, On: []vm.Verb{vm.Start, vm.Unpause, vm.Resume}, Already: true, Why: "it is running, from its rescue disk"},

	{In: []vm.State{vm.Building}, On: allBut(vm.Delete), Why: "it is still being made"},
	{In: []vm.State{vm.Error}, On: allBut(vm.Delete), Why: "its error allows only what can repair it"},
	{In: []vm.State{vm.Deleted}, On: allBut(vm.Delete), Why: "it is gone"},

	{
		In: []vm.State{vm.Paused}, Why: "its vCPUs do not run, unpause it first",
		On: append([]vm.Verb{vm.Start, vm.Stop, vm.Reboot, vm.Suspend, vm.Rebuild, vm.SetPassword}, devices...),
	},
	{
		In: []vm.State{vm.Suspended}, Why: "its memory is on disk, resume it first",
		On: append([]vm.Verb{vm.Start, vm.Stop, vm.Reboot, vm.Pause, vm.Rebuild, vm.Snapshot, vm.Move, vm.SetPassword}, devices...),
	},
	{
		In: []vm.State{vm.Stopped}, Why: "it is not running, start it first",
		On: []vm.Verb{vm.Reboot, vm.Pause, vm.Suspend, vm.Rescue, vm.SetPassword},
	},
	{
		In: []vm.State{vm.Rescued}, Why: "it runs from its rescue disk, unrescue it first",
		On: append([]vm.Verb{vm.Snapshot, vm.Move, vm.SetPassword}, devices...),
	},
	{In: []vm.State{vm.Suspended, vm.Stopped}, On: []vm.Verb{vm.Unpause}, Why: "only a paused machine can be unpaused"},
	{In: []vm.State{vm.Paused, vm.Stopped}, On: []vm.Verb{vm.Resume}, Why: "only a suspended machine can be resumed"},
	{In: entered, On: []vm.Verb{vm.Unrescue}, Why: "only a machine that runs from its rescue disk can be unrescued"},
	{In: vm.States(), On: []vm.Verb{vm.Create}, Why: "it exists"},
}

func allBut(verb vm.Verb) []vm.Verb {
	return slices.DeleteFunc(vm.Verbs(), func(v vm.Verb) bool { return v == verb })
}

// refused finds the row that refuses a verb in a state. A pair that no table knows is denied: what is not declared is
// not legal.
func refused(state vm.State, on vm.Verb) RefusalRow {
	i := slices.IndexFunc(refusals, func(r RefusalRow) bool {
		return slices.Contains(r.In, state) && slices.Contains(r.On, on)
	})
	if i < 0 {
		return RefusalRow{Why: "no rule makes it legal"}
	}
	return refusals[i]
}
