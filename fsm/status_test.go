package fsm_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

// steps is the value table: a line for each status, a column for each one that may follow.
var steps = map[vm.TaskStatus][]vm.TaskStatus{
	fsm.NoStatus:     {vm.TaskWaiting, vm.TaskQueued, vm.TaskRunning},
	vm.TaskWaiting:   {vm.TaskWaiting, vm.TaskQueued, vm.TaskRunning, vm.TaskFailed, vm.TaskCancelled},
	vm.TaskQueued:    {vm.TaskQueued, vm.TaskRunning, vm.TaskCancelled},
	vm.TaskRunning:   {vm.TaskRunning, vm.TaskSucceeded, vm.TaskFailed, vm.TaskCancelled},
	vm.TaskSucceeded: nil,
	vm.TaskFailed:    nil,
	vm.TaskCancelled: nil,
}

func TestATaskStepsAsItsTableSays(t *testing.T) {
	for from, legal := range steps {
		for to := range steps {
			if err := fsm.Step(from, to); slices.Contains(legal, to) {
				require.NoErrorf(t, err, "%q to %q", from, to)
			} else {
				require.ErrorContainsf(t, err, "internal error: cannot change the status", "%q to %q", from, to)
			}
		}
	}
}

func TestEveryTransitionHasAReason(t *testing.T) {
	for _, tr := range fsm.Transitions() {
		require.NotEmpty(t, tr.Why)
		require.Contains(t, steps, tr.From)
		require.Contains(t, steps, tr.To)
		require.False(t, tr.From.Terminal())
	}
}
