package cli

import (
	"fmt"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/exit"
	"leasehold/vm"
)

// usageError says that the command line or the configuration is wrong.
type usageError struct{ cause error }

func (e *usageError) Error() string       { return e.cause.Error() }
func (e *usageError) Unwrap() error       { return e.cause }
func (e *usageError) ExitCode() exit.Code { return exit.Usage }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// quietError ends the process with a code when all has been said.
type quietError struct{ code exit.Code }

func (e *quietError) Error() string       { return fmt.Sprintf("exit code %d", e.code) }
func (e *quietError) ExitCode() exit.Code { return e.code }

// taskError says that a task which was waited for did not succeed.
type taskError struct{ *vm.Refusal }

func (e *taskError) Unwrap() error       { return e.Refusal }
func (e *taskError) ExitCode() exit.Code { return exit.Failed }

func taskFailed(t *conductorv1.Task) error {
	r := vm.Refuse(vm.Reason(t.GetError().GetReason()), "the task %s of instance %s %s", t.GetKind(), t.GetInstance(), t.GetStatus())
	if t.GetStatus() == string(vm.TaskCancelled) {
		r.Message = fmt.Sprintf("the task %s of instance %s was cancelled", t.GetKind(), t.GetInstance())
		if r.Why == "" {
			r.Why = vm.ReasonCancelled
		}
	}
	if message := t.GetError().GetMessage(); message != "" {
		r.Message += ": " + message
	}
	if r.Why == "" {
		r.Why = vm.ReasonInternal
	}
	r.Task = vm.TaskID(t.GetId())
	for _, verb := range t.GetError().GetAllowed() {
		r.Allowed = append(r.Allowed, vm.Verb(verb))
	}
	return &taskError{r}
}

// leftError says that a person, or their script, does not wait any longer. The task goes on (I3).
type leftError struct {
	*vm.Refusal
	code exit.Code
}

func (e *leftError) Unwrap() error       { return e.Refusal }
func (e *leftError) ExitCode() exit.Code { return e.code }

// Hint is how to go on watching.
func (e *leftError) Hint() string {
	return fmt.Sprintf("go on watching with: vmctl task watch %s", e.Task)
}

// openError says that an order was sent and no answer came.
type openError struct {
	cause     error
	requestID string
}

func (e *openError) Error() string { return fmt.Sprintf("cannot say what came of it: %v", e.cause) }
func (e *openError) Unwrap() error { return e.cause }

// Hint is how to find out: the same request id never orders twice (P5).
func (e *openError) Hint() string {
	return fmt.Sprintf("the same command with --request-id %s tells, and does nothing twice", e.requestID)
}
