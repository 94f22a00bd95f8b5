package tasks_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

func TestEveryFlowIsSound(t *testing.T) {
	for verb, kind := range tasks.All() {
		require.Equal(t, verb, kind.Verb)
		require.NoError(t, kind.Flow.Validate())
		require.NotNil(t, kind.Settle, "%s", verb)
	}
}

// P4: each step shows a task_state that the recovery table knows, and a successor does what that table says.
func TestEveryStepKeepsTheRecoveryTable(t *testing.T) {
	policies := map[workflow.Policy]fsm.Policy{
		workflow.Redo: fsm.Redo, workflow.Probe: fsm.Probe, workflow.Undo: fsm.Undo, workflow.Fail: fsm.Fail,
	}
	for verb, kind := range tasks.All() {
		require.Len(t, kind.States, len(kind.Flow.Steps), "%s: one task_state for each step", verb)
		for _, step := range kind.Flow.Steps {
			rule, ok := fsm.Recover(kind.State(step.Name))
			require.True(t, ok, "%s: step %s shows %q, which has no recovery", verb, step.Name, kind.State(step.Name))
			require.Contains(t, rule.Of, verb, "%s", rule.TaskState)
			require.Equal(t, rule.Policy, policies[step.Resume], "%s: step %s", verb, step.Name)
			if rule.Leaves == fsm.LeavesOpen {
				require.True(t, step.NoReturn, "%s: what must not fail is not given up by a cancel either", step.Name)
			}
		}
	}
}

// A verb with several modes may begin in several task states; the first of them is what its kind shows.
func TestEveryKindBeginsWhereItsActionSays(t *testing.T) {
	for verb, kind := range tasks.All() {
		first := kind.State(kind.Flow.Steps[0].Name)
		var via []vm.TaskState
		for _, row := range fsm.Actions() {
			if row.On == verb && !row.NoOp() {
				via = append(via, row.Via)
			}
		}
		require.NotEmpty(t, via, "%s is no action", verb)
		slices.Sort(via)
		if via = slices.Compact(via); len(via) == 1 {
			require.Equal(t, via[0], first, "%s", verb)
		}
		require.Contains(t, via, first, "%s", verb)
	}
}
