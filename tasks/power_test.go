package tasks_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/api/compute/v1"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

func TestAVerbThatFailsLeavesTheInstanceWhereItsMachineIs(t *testing.T) {
	for _, p := range powers {
		// Whatever it was before: the machine may have changed by itself.
		for _, found := range []vm.PowerState{vm.PowerRunning, vm.PowerPaused, vm.PowerShutdown} {
			t.Run(string(p.verb)+"/"+string(found), bubble(func(t *testing.T) {
				t.Helper()
				w := onHost(p.verb, p.from)
				h := worldOf(w).hosts["h1"]
				kind := tasks.All()[p.verb]
				h.fails[kind.Flow.Steps[0].Name] = always
				worldOf(w).acted = func(string) { h.machine.power = found }
				out := finish(t, w, nil, nil)
				require.Equal(t, workflow.Failed, out.Result)
				require.Equal(t, at[found], w.Instance.State)
				require.Nil(t, w.Instance.Error)
			}))
		}
	}
}

// Symptom: a stop that failed over a crashed machine left the instance active, and start was refused as already so.
func TestAMachineThatCannotBeToldLeavesAnErrorWithItsRepairs(t *testing.T) {
	for found, repairs := range map[vm.PowerState]map[vm.Verb][]vm.Verb{
		vm.PowerCrashed: {
			vm.Start: {vm.Start, vm.Rebuild}, vm.Stop: {vm.Stop, vm.Reboot, vm.Rebuild}, vm.Pause: {vm.Reboot, vm.Rebuild},
		},
		vm.PowerNoState: {vm.Start: {vm.Start, vm.Rebuild}, vm.Reboot: {vm.Reboot, vm.Rebuild}},
	} {
		for verb, allowed := range repairs {
			t.Run(string(verb)+"/"+string(found), bubble(func(t *testing.T) {
				t.Helper()
				w := onHost(verb, map[bool]vm.PowerState{true: vm.PowerShutdown, false: vm.PowerRunning}[verb == vm.Start])
				h := worldOf(w).hosts["h1"]
				h.fails[tasks.All()[verb].Flow.Steps[0].Name] = always
				worldOf(w).acted = func(string) { h.machine.power = found }
				finish(t, w, nil, nil)
				require.Equal(t, vm.Error, w.Instance.State)
				require.Equal(t, allowed, w.Instance.Error.Allowed)
				require.Equal(t, vm.ReasonDriver, w.Instance.Error.Reason)
			}))
		}
	}
}

// Symptom: a pause that was cancelled when the vCPUs had stopped already left the instance active and the machine paused.
func TestACancelledVerbLeavesTheInstanceWhereItsMachineIs(t *testing.T) {
	for _, p := range powers {
		t.Run(string(p.verb), bubble(func(t *testing.T) {
			t.Helper()
			w := onHost(p.verb, p.from)
			cancelled := make(chan struct{})
			worldOf(w).acted = func(string) {
				close(cancelled)
				synctest.Wait() // the call is left before its answer
			}
			out := finish(t, w, nil, cancelled)
			require.Equal(t, workflow.Cancelled, out.Result, "%v", out.Err)
			require.Equal(t, p.to, worldOf(w).hosts["h1"].machine.power)
			require.Equal(t, at[p.to], w.Instance.State)
		}))
	}
}

// Symptom: as above, when the conductor died after the effect and its successor heard of the cancel first.
func TestASuccessorOfACancelledVerbLooksWhereTheMachineIs(t *testing.T) {
	for _, p := range powers {
		for _, found := range []vm.PowerState{p.from, p.to} {
			t.Run(string(p.verb)+"/"+string(found), bubble(func(t *testing.T) {
				t.Helper()
				dead := onHost(p.verb, p.from)
				worldOf(dead).hosts["h1"].machine.power = found
				w := takeOver(t, dead)
				cancelled := make(chan struct{})
				close(cancelled)
				out := finish(t, w, workflow.Begin(tasks.All()[p.verb].Flow, time.Now()), cancelled)
				require.Equal(t, workflow.Cancelled, out.Result)
				require.Equal(t, at[found], w.Instance.State)
				require.Empty(t, worldOf(w).acts, "nothing is done to it any more")
			}))
		}
	}
}

// What a successor, or the same conductor after an answer was lost, finds of a step that was begun.
func TestAProbeKnowsWhatWasDone(t *testing.T) {
	mine := func(verb vm.Verb, outcome string) *computev1.JournalEntry {
		return &computev1.JournalEntry{TaskId: "t1", Step: tasks.All()[verb].Flow.Steps[0].Name, Outcome: outcome}
	}
	other := mine(vm.Reboot, "done")
	other.TaskId = "t0"
	for name, c := range map[string]struct {
		verb    vm.Verb
		power   vm.PowerState
		journal *computev1.JournalEntry
		again   bool
	}{
		"stop, nothing done":                    {vm.Stop, vm.PowerRunning, nil, true},
		"stop, off":                             {vm.Stop, vm.PowerShutdown, nil, false},
		"stop, done by the journal":             {vm.Stop, vm.PowerShutdown, mine(vm.Stop, "done"), false},
		"start, runs":                           {vm.Start, vm.PowerRunning, nil, false},
		"start, ended by itself since":          {vm.Start, vm.PowerShutdown, mine(vm.Start, "done"), false},
		"start, crashed":                        {vm.Start, vm.PowerCrashed, nil, true},
		"pause, the hypervisor does not answer": {vm.Pause, vm.PowerRunning, mine(vm.Pause, "interrupted"), true},
		"reboot, runs":                          {vm.Reboot, vm.PowerRunning, nil, true},
		"reboot, begun and not ended":           {vm.Reboot, vm.PowerRunning, mine(vm.Reboot, ""), true},
		"reboot, done by the journal":           {vm.Reboot, vm.PowerRunning, mine(vm.Reboot, "done"), false},
		"reboot, done for an earlier task":      {vm.Reboot, vm.PowerRunning, other, true},
	} {
		t.Run(name, bubble(func(t *testing.T) {
			t.Helper()
			dead := onHost(c.verb, map[bool]vm.PowerState{true: vm.PowerShutdown, false: vm.PowerRunning}[c.verb == vm.Start])
			h := worldOf(dead).hosts["h1"]
			h.machine.power = c.power
			if c.journal != nil {
				h.journal = append(h.journal, c.journal)
			}
			w := takeOver(t, dead)
			out := finish(t, w, workflow.Begin(tasks.All()[c.verb].Flow, time.Now()), nil)
			require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
			require.Equal(t, c.again, len(worldOf(w).acts) > 0)
		}))
	}
}

func TestTheGraceOfAStopReachesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := onHost(vm.Stop, vm.PowerRunning)
		w.Task.Params = []byte(`{"grace":60000000000}`)
		var told *computev1.RunRequest
		w.World = &listener{worldOf(w), &told}
		out, err := drive(t.Context(), w, nil, nil)
		require.NoError(t, err)
		require.Equal(t, workflow.Succeeded, out.Result)
		require.Equal(t, time.Minute, told.GetStop().GetGrace().AsDuration())
	})
}

func TestAVerbForWhatWasNeverPlacedFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := &vm.Fault{Reason: vm.ReasonCapacity, Message: "no host", Allowed: []vm.Verb{vm.Start}}
		w := newSite("h1").admit(vm.Start, vm.Instance{State: vm.Error, Error: fault}, "")
		out := finish(t, w, nil, nil)
		require.Equal(t, workflow.Failed, out.Result)
		require.ErrorContains(t, out.Err, "it was never placed on a host")
		require.Equal(t, vm.Error, w.Instance.State)
		require.Equal(t, []vm.Verb{vm.Start}, w.Instance.Error.Allowed)
	})
}
