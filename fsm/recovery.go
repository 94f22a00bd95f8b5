package fsm

import (
	"fmt"
	"slices"

	"leasehold/vm"
)

// Policy is what a successor does with a step that it finds begun without a result, after it has fenced every host of
// the task and observed what is there.
type Policy string

// The policies. A step of a flow names one of them too.
const (
	Redo  Policy = "redo"  // do it again; it is safe to do twice
	Probe Policy = "probe" // go by what is really there: take it as done, or do it again
	Undo  Policy = "undo"  // take it back, then try another way or fail
	Fail  Policy = "fail"  // take back the whole task
)

// Leaves is what a failure leaves of the vm_state.
type Leaves string

// The values of Leaves.
const (
	LeavesPrior  Leaves = "prior"          // the step changes nothing of the machine that outlives it
	LeavesUndone Leaves = "prior or error" // prior when it was undone, or observed to have had no effect
	LeavesError  Leaves = "error"          // there is no state to go back to
	LeavesOpen   Leaves = "open"           // it does not fail; the task stays open and says what it waits for
)

// Recovery is the rule for one task_state: what a takeover does, and what a failure leaves (P4).
type Recovery struct {
	TaskState vm.TaskState
	Of        []vm.Verb // the tasks that pass through it
	Policy    Policy
	Then      string // when the policy does not help
	Leaves    Leaves
	Allowed   []vm.Verb // error.allowed where it leaves error; delete is always legal beside it
	Agent     string    // what an agent that was restarted in the middle does on its own
	Why       string
}

// Recoveries returns the table, in the order of vm.TaskStates.
func Recoveries() []Recovery { return slices.Clone(recoveries) }

// Recover finds the rule for a task_state. ok is false for idle, which needs none.
func Recover(ts vm.TaskState) (r Recovery, ok bool) {
	i := slices.IndexFunc(recoveries, func(r Recovery) bool { return r.TaskState == ts })
	if i < 0 {
		return Recovery{}, false
	}
	return recoveries[i], true
}

// Aftermath is what a task that failed, or was cancelled by a user, leaves of its instance.
type Aftermath struct {
	State   vm.State
	Allowed []vm.Verb // for Fault.Allowed when State is error
	Why     string
}

// AfterFailure is what a task leaves that ends without success. s is the instance while the task still holds it: State
// from before, TaskState where it failed, Fault of an earlier error. undone says that the machine is as it was before,
// because everything was taken back or was observed to have had no effect. An error means that the task must not fail:
// it has nothing to end, or it is a delete, which stays open until it is done (P2).
func AfterFailure(s Subject, undone bool) (Aftermath, error) {
	r, ok := Recover(s.TaskState)
	if !ok || r.Leaves == LeavesOpen {
		return Aftermath{}, fmt.Errorf("internal error: cannot fail a task in task_state %q of an instance that was %s", s.TaskState, s.State)
	}
	back := r.Leaves == LeavesPrior || r.Leaves == LeavesUndone && undone
	switch {
	case back && s.State == vm.Error && s.Fault != nil:
		return Aftermath{vm.Error, slices.Clone(s.Fault.Allowed), "the earlier error is as it was"}, nil
	case back && s.State != vm.Error:
		return Aftermath{State: s.State, Why: "it is as it was before"}, nil
	}
	return Aftermath{vm.Error, slices.Clone(r.Allowed), r.Then}, nil
}

const (
	interrupted = "answers interrupted and reports the power state; a machine that runs is attached to, not touched"
	halfMade    = "answers interrupted and leaves what is half made; only a command makes it again or removes it"
	untouched   = "nothing: no host was touched"
)

var reset = []vm.Verb{vm.Reboot, vm.Rebuild}

var recoveries = []Recovery{
	{
		TaskState: vm.Scheduling, Of: []vm.Verb{vm.Create}, Policy: Redo, Leaves: LeavesError,
		Then:  "no host fits: error, only delete is left",
		Agent: untouched, Why: "the request is durable and nothing but the record exists",
	},
	{
		TaskState: vm.BlockDeviceMapping, Of: []vm.Verb{vm.Create}, Policy: Redo, Leaves: LeavesError,
		Then:  "undo and try another host; else error, only delete is left",
		Agent: halfMade, Why: "a disk that nobody booted can be made again",
	},
	{
		TaskState: vm.Networking, Of: []vm.Verb{vm.Create}, Policy: Redo, Leaves: LeavesError,
		Then:  "undo and try another host; else error, only delete is left",
		Agent: halfMade, Why: "a port that nobody used can be bound again",
	},
	{
		TaskState: vm.Spawning, Of: []vm.Verb{vm.Create}, Policy: Probe, Leaves: LeavesError,
		Allowed: []vm.Verb{vm.Rebuild},
		Then:    "running is success; else redo, then another host, then error with rebuild",
		Agent:   interrupted, Why: "a machine that runs must not be started a second time (P2)",
	},
	{
		TaskState: vm.ImageSnapshot, Of: []vm.Verb{vm.Snapshot}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "resume the copy, or clear it and remove the half-made image",
		Agent:   halfMade, Why: "the machine runs on beside the copy, so giving the copy up costs nothing",
	},
	{
		TaskState: vm.ImageUploading, Of: []vm.Verb{vm.Snapshot}, Policy: Probe, Leaves: LeavesPrior,
		Then:  "resume the upload, or remove the half-made image",
		Agent: halfMade, Why: "the copy is complete on the host and the machine has nothing to do with it",
	},
	{
		TaskState: vm.UpdatingPassword, Of: []vm.Verb{vm.SetPassword}, Policy: Redo, Leaves: LeavesPrior,
		Then:  "clear the parameters and report the failure",
		Agent: interrupted, Why: "setting the same password twice is setting it once",
	},
	{
		TaskState: vm.PoweringOff, Of: []vm.Verb{vm.Stop}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: []vm.Verb{vm.Stop, vm.Reboot, vm.Rebuild},
		Then:    "off is success; else redo",
		Agent:   interrupted, Why: "ending what has ended does nothing",
	},
	{
		TaskState: vm.PoweringOn, Of: []vm.Verb{vm.Start}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: []vm.Verb{vm.Start, vm.Rebuild},
		Then:    "running is success; else redo",
		Agent:   interrupted, Why: "a machine that runs must not be started a second time (P2)",
	},
	{
		TaskState: vm.Rebooting, Of: []vm.Verb{vm.Reboot}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "redo, also when it runs: that it runs does not show that it was rebooted",
		Agent:   interrupted, Why: "a second reboot in a row is what the user asked for, only later",
	},
	{
		TaskState: vm.RebootingHard, Of: []vm.Verb{vm.Reboot}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "redo, also when it runs: that it runs does not show that it was reset",
		Agent:   interrupted, Why: "the guest's memory was given up when the reset was asked for",
	},
	{
		TaskState: vm.Pausing, Of: []vm.Verb{vm.Pause}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "paused is success; else redo",
		Agent:   interrupted, Why: "the power state tells how far it came",
	},
	{
		TaskState: vm.Unpausing, Of: []vm.Verb{vm.Unpause}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "running is success; else redo",
		Agent:   interrupted, Why: "the power state tells how far it came",
	},
	{
		TaskState: vm.Suspending, Of: []vm.Verb{vm.Suspend}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "saved and complete is success; running: redo; a half-saved memory is removed only while the machine has its own",
		Agent:   interrupted, Why: "memory is given up only after its copy is complete",
	},
	{
		TaskState: vm.Resuming, Of: []vm.Verb{vm.Resume}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "running is success; else redo from the saved memory, which is kept until it runs",
		Agent:   interrupted, Why: "once it has run, the saved memory is older than its disk",
	},
	{
		TaskState: vm.Rescuing, Of: []vm.Verb{vm.Rescue}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "running from the rescue disk is success; else redo",
		Agent:   interrupted, Why: "the power state is the same before and after, the disk it runs from is not",
	},
	{
		TaskState: vm.Unrescuing, Of: []vm.Verb{vm.Unrescue}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "running from its own disk is success; else redo",
		Agent:   interrupted, Why: "the power state is the same before and after, the disk it runs from is not",
	},
	{
		TaskState: vm.Rebuilding, Of: []vm.Verb{vm.Rebuild}, Policy: Redo, Leaves: LeavesUndone,
		Allowed: []vm.Verb{vm.Rebuild},
		Then:    "as it was while the old disk is whole; else error with rebuild",
		Agent:   halfMade, Why: "the user gave the old disk up; the new one can be made any number of times",
	},
	{
		TaskState: vm.RebuildingSpawning, Of: []vm.Verb{vm.Rebuild}, Policy: Redo, Leaves: LeavesError,
		Allowed: []vm.Verb{vm.Rebuild},
		Then:    "error with rebuild: the old disk is gone",
		Agent:   interrupted, Why: "the new disk has seen nothing that would be lost",
	},
	{
		TaskState: vm.Resizing, Of: []vm.Verb{vm.Move}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: []vm.Verb{vm.Move, vm.Reboot, vm.Rebuild},
		Then:    "before the switch undo to the source and the old size; after it go on",
		Agent:   interrupted, Why: "the record's host and size change in one transaction: it has happened or it has not",
	},
	{
		TaskState: vm.Migrating, Of: []vm.Verb{vm.Move}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: []vm.Verb{vm.Move, vm.Reboot, vm.Rebuild},
		Then:    "undo to the source, which still owns it; the target's half is removed",
		Agent:   interrupted, Why: "until the switch only the source may execute it (P2)",
	},
	{
		TaskState: vm.MigratingSwitchover, Of: []vm.Verb{vm.Move}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: []vm.Verb{vm.Move, vm.Reboot, vm.Rebuild},
		Then:    "ownership switched: go on to the target; not switched, or the target was never let go: back to the source",
		Agent:   interrupted, Why: "the record says who owns it, and both hosts are fenced before it is believed (P2)",
	},
	{
		TaskState: vm.Attaching, Of: []vm.Verb{vm.AttachVolume, vm.AttachPort}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "there is success; else redo, or undo when the machine does not take it",
		Agent:   interrupted, Why: "the hypervisor lists what it has",
	},
	{
		TaskState: vm.Detaching, Of: []vm.Verb{vm.DetachVolume, vm.DetachPort}, Policy: Probe, Leaves: LeavesUndone,
		Allowed: reset,
		Then:    "gone is success; else redo, or undo when the guest does not let go",
		Agent:   interrupted, Why: "the hypervisor lists what it has",
	},
	{
		TaskState: vm.Deleting, Of: []vm.Verb{vm.Delete}, Policy: Redo, Leaves: LeavesOpen,
		Then:  "waits for the host that holds the rest, and says so",
		Agent: "answers interrupted; what is left goes with the next command, or with its tombstone",
		Why:   "removing what is gone does nothing, and success is promised only when all of it is gone (P2, P6)",
	},
}
