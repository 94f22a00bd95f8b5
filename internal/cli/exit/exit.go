// Package exit holds the exit codes of vmctl: one table, from which the help is printed too. A code says what a script
// can do next, so it is coarser than a reason; the reason itself is in the error.
package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"leasehold/vm"
)

// Code is what the process answers to its caller.
type Code int

// The codes.
const (
	OK          Code = 0
	Failed      Code = 1
	Usage       Code = 2
	NotFound    Code = 3
	Refused     Code = 4
	Full        Code = 5
	Unavailable Code = 6
	Denied      Code = 7
	Unsupported Code = 8
	TimedOut    Code = 9
	Internal    Code = 10
	Interrupted Code = 130 // as a shell counts a process that SIGINT ended
)

var meanings = []struct {
	code    Code
	meaning string
}{
	{OK, "done; with --wait the task succeeded, without it the task was accepted"},
	{Failed, "the task failed or was cancelled; or check found violations"},
	{Usage, "the command line, the configuration or a value in it is wrong"},
	{NotFound, "there is no such instance, task, image, flavor or host"},
	{Refused, "not now: a task is in the way, the state forbids it, the host is down, the name is taken, it is too late"},
	{Full, "a quota or the capacity is exhausted"},
	{Unavailable, "no conductor answered, or the store behind it is away; it may help to try again"},
	{Denied, "not authenticated, or not allowed"},
	{Unsupported, "this server cannot do it"},
	{TimedOut, "--wait-timeout is over; the task goes on"},
	{Internal, "a bug, of the server or of vmctl"},
	{Interrupted, "Ctrl-C; a task that was waited for goes on"},
}

// byReason answers for a refusal. What is not here is Internal.
var byReason = map[vm.Reason]Code{
	vm.ReasonInvalidArgument:  Usage,
	vm.ReasonTooLarge:         Usage,
	vm.ReasonNotFound:         NotFound,
	vm.ReasonTaskInProgress:   Refused,
	vm.ReasonStateForbids:     Refused,
	vm.ReasonHostDown:         Refused,
	vm.ReasonLocked:           Refused,
	vm.ReasonInUse:            Refused,
	vm.ReasonAlreadyExists:    Refused,
	vm.ReasonKeyReused:        Refused,
	vm.ReasonTooLate:          Refused,
	vm.ReasonQuota:            Full,
	vm.ReasonCapacity:         Full,
	vm.ReasonStoreUnavailable: Unavailable,
	vm.ReasonUnauthenticated:  Denied,
	vm.ReasonPermissionDenied: Denied,
	vm.ReasonUnsupported:      Unsupported,
}

// Of is the code for what a command returned: the error's own ExitCode when it has one, then that of a cancelled
// context, then that of its reason.
func Of(err error) Code {
	var own interface{ ExitCode() Code }
	switch {
	case err == nil:
		return OK
	case errors.As(err, &own):
		return own.ExitCode()
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	if code, ok := byReason[vm.ReasonOf(err)]; ok {
		return code
	}
	return Internal
}

// Table is the text of the documentation, one code a line.
func Table() string {
	var b strings.Builder
	for _, row := range meanings {
		fmt.Fprintf(&b, "%5d  %s\n", row.code, row.meaning)
	}
	return b.String()
}
