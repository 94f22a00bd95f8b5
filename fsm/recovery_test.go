package fsm_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

// P4: for every task_state there is a declared recovery.
func TestEveryTaskStateHasARecovery(t *testing.T) {
	var declared []vm.TaskState
	for _, r := range fsm.Recoveries() {
		declared = append(declared, r.TaskState)
	}
	require.Equal(t, vm.TaskStates(), declared, "one row each, in the same order")
	_, ok := fsm.Recover(vm.Idle)
	require.False(t, ok)
}

func TestEveryRecoveryIsSound(t *testing.T) {
	for _, r := range fsm.Recoveries() {
		for _, text := range []string{r.Then, r.Agent, r.Why} {
			require.NotEmptyf(t, text, "%s", r.TaskState)
		}
		require.Containsf(t, []fsm.Policy{fsm.Redo, fsm.Probe, fsm.Undo, fsm.Fail}, r.Policy, "%s", r.TaskState)
		require.NotEmptyf(t, r.Of, "%s", r.TaskState)
		if r.Leaves == fsm.LeavesPrior || r.Leaves == fsm.LeavesOpen {
			require.Emptyf(t, r.Allowed, "%s never leaves an error", r.TaskState)
		}
		for _, on := range r.Allowed {
			repairs := func(row fsm.Row) bool { return row.From == vm.Error && row.On == on && row.ByFault }
			require.Truef(t, slices.ContainsFunc(fsm.Actions(), repairs), "%s allows %s, which has no row from error", r.TaskState, on)
		}
	}
}

func TestEveryTaskMayEnterARecoveryThatKnowsIt(t *testing.T) {
	for _, on := range append(vm.Verbs(), vm.Create) {
		knows := func(r fsm.Recovery) bool { return slices.Contains(r.Of, on) }
		require.Truef(t, slices.ContainsFunc(fsm.Recoveries(), knows), "%s", on)
	}
}

func TestFailuresLeaveADeclaredState(t *testing.T) {
	earlier := &vm.Fault{Allowed: []vm.Verb{vm.Start}}
	for _, c := range []struct {
		s       fsm.Subject
		undone  bool
		state   vm.State
		allowed []vm.Verb
	}{
		{fsm.Subject{State: vm.Building, TaskState: vm.Scheduling}, true, vm.Error, nil},
		{fsm.Subject{State: vm.Building, TaskState: vm.Networking}, false, vm.Error, nil},
		{fsm.Subject{State: vm.Building, TaskState: vm.Spawning}, false, vm.Error, []vm.Verb{vm.Rebuild}},
		{fsm.Subject{State: vm.Active, TaskState: vm.Pausing}, true, vm.Active, nil},
		{fsm.Subject{State: vm.Active, TaskState: vm.Pausing}, false, vm.Error, []vm.Verb{vm.Reboot, vm.Rebuild}},
		{fsm.Subject{State: vm.Active, TaskState: vm.UpdatingPassword}, false, vm.Active, nil},
		{fsm.Subject{State: vm.Stopped, TaskState: vm.PoweringOn}, true, vm.Stopped, nil},
		{fsm.Subject{State: vm.Active, TaskState: vm.RebuildingSpawning}, true, vm.Error, []vm.Verb{vm.Rebuild}},
		{fsm.Subject{State: vm.Error, TaskState: vm.Rebuilding, Fault: earlier}, true, vm.Error, []vm.Verb{vm.Start}},
		{fsm.Subject{State: vm.Error, TaskState: vm.Rebuilding, Fault: earlier}, false, vm.Error, []vm.Verb{vm.Rebuild}},
	} {
		got, err := fsm.AfterFailure(c.s, c.undone)
		require.NoError(t, err)
		require.Equalf(t, c.state, got.State, "%+v", c)
		require.Equalf(t, c.allowed, got.Allowed, "%+v", c)
		require.NotEmpty(t, got.Why)
	}
}

func TestADeleteDoesNotFail(t *testing.T) {
	_, err := fsm.AfterFailure(fsm.Subject{State: vm.Active, TaskState: vm.Deleting}, true)
	require.ErrorContains(t, err, "internal error: cannot fail")
	_, err = fsm.AfterFailure(fsm.Subject{State: vm.Active}, true)
	require.ErrorContains(t, err, "internal error: cannot fail")
}

func TestSuccessLeadsWhereTheTableSays(t *testing.T) {
	for _, r := range fsm.Actions() {
		s := fsm.Subject{State: r.From, TaskState: r.Via}
		if r.On == vm.Create {
			s.State = vm.Building
		}
		end, err := fsm.AfterSuccess(s, r.On)
		require.NoError(t, err)
		require.Equal(t, r.To, end)
	}
	_, err := fsm.AfterSuccess(fsm.Subject{State: vm.Paused}, vm.Stop)
	require.ErrorContains(t, err, "internal error: cannot finish stop")
}

func TestAnAgentsStartHasARuleForEachFinding(t *testing.T) {
	seen := map[fsm.Finding]bool{}
	for _, r := range fsm.Restarts() {
		require.Falsef(t, seen[r.Finding], "%s stands twice", r.Finding)
		seen[r.Finding] = true
		require.NotEmpty(t, r.Does)
		require.NotEmpty(t, r.Why)
	}
	for _, f := range []fsm.Finding{
		fsm.FoundBegun, fsm.FoundEnded, fsm.FoundFence, fsm.FoundMachine, fsm.FoundIdle, fsm.FoundHalfMade,
		fsm.FoundTombstone, fsm.FoundUnknown, fsm.FoundFrozen, fsm.FoundNewBoot, fsm.FoundFresh,
	} {
		require.Truef(t, seen[f], "%s", f)
	}
}
