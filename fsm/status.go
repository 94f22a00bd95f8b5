package fsm

import (
	"fmt"
	"slices"

	"leasehold/vm"
)

// NoStatus is the From of a task that is being admitted.
const NoStatus vm.TaskStatus = ""

// Transition is one legal change of a task's status.
type Transition struct {
	From vm.TaskStatus
	To   vm.TaskStatus
	Why  string
}

// Transitions returns the table of a task's statuses. A takeover, or a claim handed back, leaves running as it is: it is
// the claim that changes hands, not the status. Nothing goes back to waiting, because an acquired set is never extended
// and a takeover never queues; nothing leaves a terminal status.
func Transitions() []Transition { return slices.Clone(transitions) }

var transitions = []Transition{
	{NoStatus, vm.TaskRunning, "admitted with its claim"},
	{NoStatus, vm.TaskQueued, "admitted by a conductor that is full or draining"},
	{NoStatus, vm.TaskWaiting, "admitted with tickets: a shared resource is busy"},
	{vm.TaskWaiting, vm.TaskRunning, "granted with its claim"},
	{vm.TaskWaiting, vm.TaskQueued, "granted by a conductor that is full or draining"},
	{vm.TaskWaiting, vm.TaskFailed, "no longer legal when its turn came"},
	{vm.TaskWaiting, vm.TaskCancelled, "a user asked, or a delete preempted it; nothing was done yet"},
	{vm.TaskQueued, vm.TaskRunning, "claimed by a free conductor"},
	{vm.TaskQueued, vm.TaskCancelled, "a user asked, or a delete preempted it; nothing was done yet"},
	{vm.TaskRunning, vm.TaskSucceeded, "all steps are done"},
	{vm.TaskRunning, vm.TaskFailed, "a step failed for good; what was done is undone or recorded"},
	{vm.TaskRunning, vm.TaskCancelled, "a user asked and it was undone, or a delete preempted it"},
}

// Step says whether a task may be written with status to after status from: by a row of Transitions, or with the status
// it has while that is not terminal. The error is our own bug.
func Step(from, to vm.TaskStatus) error {
	if from == to && from != NoStatus && !from.Terminal() {
		return nil
	}
	if slices.ContainsFunc(transitions, func(t Transition) bool { return t.From == from && t.To == to }) {
		return nil
	}
	return fmt.Errorf("internal error: cannot change the status of a task from %q to %q", from, to)
}
