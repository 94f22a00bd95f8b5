package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"leasehold/api/compute/v1"
	"leasehold/fsm"
	"leasehold/scheduler"
	"leasehold/vm"
	"leasehold/workflow"
)

// Action fills in what the agent shall do.
type Action func(*computev1.RunRequest)

// World is what a flow may ask of the conductor that drives it.
type World interface {
	// Act has the agent of host do one thing under the task's fence and returns what was seen after it. While the host is
	// down it waits, recording why. Its errors are classified for the workflow: permanent, retryable or unknown. The result
	// is nil when the agent gave none.
	Act(ctx context.Context, host vm.HostName, do Action, beat workflow.Beat) (*computev1.StepResult, error)
	// Fence makes the host refuse everything older than this task's fence, ends such work there, and tells what is there.
	// With kill a hung hypervisor call is got past by ending the machine.
	Fence(ctx context.Context, host vm.HostName, kill bool, beat workflow.Beat) (*computev1.Observation, error)
	// Host says what is known of a host.
	Host(host vm.HostName) Standing
	// Candidates are all hosts with what is promised on them.
	Candidates() []scheduler.Candidate
	// Now is the wall clock, for records.
	Now() time.Time
}

// Standing is what is known of a host.
type Standing int

// The standings.
const (
	Up      Standing = iota + 1
	Down             // it may come back, with everything that was on it
	Removed          // an operator signed that it is off and took it out: nothing on it executes, or ever will
)

// Work is one task being driven: its own copies of the records, and what the next transaction shall change besides them.
type Work struct {
	World
	Task     *vm.Task
	Instance *vm.Instance // nil for a task without one
	Image    *vm.Image    // what create, rebuild and rescue make a disk from
	Saves    *vm.Image    // the record of the image that a snapshot makes

	// Promise is a host whose allocation shall get the instance in the next transaction; Free are hosts whose allocation
	// shall lose it.
	Promise vm.HostName
	Free    []vm.HostName
	// Unname gives the instance's name back in the next transaction, though the record stays.
	Unname bool
	// Observed is the last that an agent said of the instance.
	Observed *computev1.Observation
	// Gone says that the end of the task removes the instance.
	Gone bool
	// Refused remembers why a host is not tried again.
	Refused map[vm.HostName]string
}

// Kind is one kind of task.
type Kind struct {
	Verb vm.Verb
	Flow workflow.Flow[*Work]
	// States is the task_state shown while a step is under way; Ways, that of a mode which shows another one.
	States map[string]vm.TaskState
	Ways   map[fsm.Mode]map[string]vm.TaskState
	// Settle writes into w.Instance what the end of the task means. It is called once, before the finishing transaction.
	Settle func(w *Work, out workflow.Outcome)
}

// State is the task_state of a step, which a log names last, of a task in a mode.
func (k Kind) State(mode fsm.Mode, step string) vm.TaskState {
	if s, ok := k.Ways[mode][step]; ok {
		return s
	}
	return k.States[step]
}

// All returns every kind that is built.
func All() map[vm.Verb]Kind {
	all := map[vm.Verb]Kind{}
	for _, k := range []Kind{
		create(), remove(), start(), stop(), reboot(), pause(), unpause(), suspend(), resume(), rescue(), unrescue(),
		rebuild(), snapshot(), setPassword(),
	} {
		all[k.Verb] = k
	}
	return all
}

// touch notes that the host may hold something of the instance, in both records, before it does.
func (w *Work) touch(host vm.HostName) {
	if !slices.Contains(w.Task.Hosts, host) {
		w.Task.Hosts = append(w.Task.Hosts, host)
	}
	if !slices.Contains(w.Instance.Footprint, host) {
		w.Instance.Footprint = append(w.Instance.Footprint, host)
	}
}

// clean notes that the host holds nothing of the instance any more.
func (w *Work) clean(host vm.HostName) {
	is := func(h vm.HostName) bool { return h == host }
	w.Instance.Footprint = slices.DeleteFunc(slices.Clone(w.Instance.Footprint), is)
}

// act runs an action on host and keeps what was seen.
func (w *Work) act(ctx context.Context, host vm.HostName, do Action, beat workflow.Beat) error {
	_, err := w.ask(ctx, host, do, beat)
	return err
}

// ask is act for who needs more of the answer than what was seen.
func (w *Work) ask(ctx context.Context, host vm.HostName, do Action, beat workflow.Beat) (*computev1.StepResult, error) {
	result, err := w.Act(ctx, host, do, beat)
	if seen := result.GetObservation(); seen != nil {
		w.Observed = seen
	}
	return result, err
}

// look fences host and keeps what was seen: the only way to read for a decision, so that no late command of a former
// driver lands after the reading. P1
func (w *Work) look(ctx context.Context, host vm.HostName) (*computev1.Observation, error) {
	seen, err := w.Fence(ctx, host, false, func(workflow.Progress) {})
	if err == nil {
		w.Observed = seen
	}
	return seen, err
}

// enter puts the instance into a vm_state.
func (w *Work) enter(s vm.State) {
	if w.Instance.State != s {
		w.Instance.Since = w.Now()
	}
	w.Instance.State = s
	w.Instance.Error = nil
}

// succeed enters what the table of actions says.
func (w *Work) succeed() {
	to, err := fsm.AfterSuccess(w.subject(), w.Task.Kind)
	if err != nil {
		w.fail(err, nil)
		return
	}
	w.enter(to)
}

// failed enters what the table of recoveries says of the task_state it failed in. What was on a host that is no more is
// lost with it, whatever the task was.
func (w *Work) failed(out workflow.Outcome) {
	if w.lost() {
		return
	}
	after, err := fsm.AfterFailure(w.subject(), out.Undone)
	switch {
	case err != nil:
		w.fail(err, nil)
	case after.State == vm.Error:
		w.fail(out.Err, after.Allowed)
	default:
		w.enter(after.State)
	}
}

// land enters the state that goes with what was seen last: an instance is where its machine is, not where it was asked to
// be. A machine that crashed or does not answer is not as it was before, though nothing is left to undo.
func (w *Work) land(out workflow.Outcome) {
	seen := w.Observed
	if w.lost() {
		return
	}
	if seen.GetExists() {
		w.keepRescue(vm.ImageID(seen.GetRescue()))
	}
	switch vm.PowerState(seen.GetPowerState()) {
	case vm.PowerRunning:
		w.enter(w.executing())
	case vm.PowerPaused:
		w.enter(vm.Paused)
	case vm.PowerShutdown:
		w.enter(vm.Stopped)
	case vm.PowerSuspended:
		w.enter(vm.Suspended)
	default:
		out.Undone = seen == nil
		w.failed(out)
	}
}

// executing is the vm_state of what runs: from its own disk or, while it keeps a rescue, from that one's.
func (w *Work) executing() vm.State {
	if w.Instance.Rescue != nil {
		return vm.Rescued
	}
	return vm.Active
}

// keepRescue notes which rescue disk the instance starts from; its own when image is empty.
func (w *Work) keepRescue(image vm.ImageID) {
	switch {
	case image == "":
		w.Instance.Rescue = nil
	case w.Instance.Rescue == nil || w.Instance.Rescue.Image != image:
		w.Instance.Rescue = &vm.RescueDisk{Image: image, Since: w.Now()}
	}
}

// lost puts an instance into error whose host was taken out, and says whether it was: nothing of it is left there that
// anybody could use.
func (w *Work) lost() bool {
	host := w.Instance.Host
	if host == "" || w.Host(host) != Removed {
		return false
	}
	LoseHost(w.Instance, host, w.Task.ID, w.Now())
	w.Free = append(w.Free, host)
	return true
}

// LoseHost writes into an instance that a host which it was on was taken out for good. It is what the end of a task does,
// and what the removal of the host does to an instance that is idle.
func LoseHost(in *vm.Instance, host vm.HostName, task vm.TaskID, now time.Time) {
	is := func(h vm.HostName) bool { return h == host }
	in.Footprint = slices.DeleteFunc(slices.Clone(in.Footprint), is)
	in.UpdatedAt = now
	if in.Host != host {
		return
	}
	in.Host, in.Rescue = "", nil
	if in.State != vm.Error {
		in.Since = now
	}
	in.State = vm.Error
	in.Error = &vm.Fault{
		Reason: vm.ReasonHostDown, Task: task, Since: now,
		Message: fmt.Sprintf("host %s was removed for good, and what was on it with it", host),
	}
}

func (w *Work) subject() fsm.Subject { return fsm.Of(*w.Instance) }

// fail puts the instance into vm_state error with what can repair it.
func (w *Work) fail(err error, allowed []vm.Verb) {
	w.enter(vm.Error)
	w.Instance.Error = &vm.Fault{
		Reason: reasonOf(err), Message: err.Error(), Allowed: allowed, Task: w.Task.ID, Since: w.Now(),
	}
}

// reasonOf finds the word for an error of the engine, which survives a takeover as a word only.
func reasonOf(err error) vm.Reason {
	if step, ok := errors.AsType[*workflow.StepError](err); ok && step.Reason != "" {
		return vm.Reason(step.Reason)
	}
	if errors.Is(err, workflow.ErrCancelled) {
		return vm.ReasonCancelled
	}
	return vm.ReasonOf(err)
}

// FaultOf is what a task's record says of the error it ended with.
func FaultOf(t *vm.Task, err error, now time.Time) *vm.Fault {
	if err == nil {
		return nil
	}
	return &vm.Fault{Reason: reasonOf(err), Message: err.Error(), Task: t.ID, Since: now}
}
