package tasks_test

import (
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/tasks"
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
		for mode, step := range waysOf(kind) {
			rule, ok := fsm.Recover(kind.State(mode, step.Name))
			require.True(t, ok, "%s: step %s shows %q, which has no recovery", verb, step.Name, kind.State(mode, step.Name))
			require.Contains(t, rule.Of, verb, "%s", rule.TaskState)
			require.Equal(t, rule.Policy, policies[step.Resume], "%s: step %s", verb, step.Name)
			if rule.Leaves == fsm.LeavesOpen {
				require.True(t, step.NoReturn, "%s: what must not fail is not given up by a cancel either", step.Name)
			}
		}
	}
}

// waysOf are the steps of a kind in each mode that it knows.
func waysOf(kind tasks.Kind) iter.Seq2[fsm.Mode, workflow.Step[*tasks.Work]] {
	return func(yield func(fsm.Mode, workflow.Step[*tasks.Work]) bool) {
		for _, mode := range append(slices.Collect(maps.Keys(kind.Ways)), fsm.Auto) {
			for _, step := range kind.Flow.Steps {
				if !yield(mode, step) {
					return
				}
			}
		}
	}
}

// A task begins in the task_state of the row that admitted it, in each of its modes.
func TestEveryKindBeginsWhereItsActionSays(t *testing.T) {
	for verb, kind := range tasks.All() {
		rows := slices.DeleteFunc(append(fsm.Actions(), fsm.Corrections()...), func(r fsm.Row) bool { return r.On != verb || r.NoOp() })
		require.NotEmpty(t, rows, "%s is no action", verb)
		for _, row := range rows {
			require.Equal(t, row.Via, kind.State(row.Mode, kind.Flow.Steps[0].Name), "%s (%s)", verb, row.Mode)
		}
	}
}
