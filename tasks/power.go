package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"leasehold/api/compute/v1"
	"leasehold/fsm"
	"leasehold/vm"
	"leasehold/workflow"
)

// StopParams are the durable parameters of a stop.
type StopParams struct {
	Grace time.Duration `json:"grace"` // zero cuts the power at once
}

// RebootParams are the durable parameters of a reboot.
type RebootParams struct {
	Hard  bool          `json:"hard"`
	Grace time.Duration `json:"grace"`
}

// power describes a verb that does one thing on the instance's host.
type power struct {
	verb vm.Verb
	via  vm.TaskState
	ways map[fsm.Mode]vm.TaskState // of modes that show another task_state than via
	do   func(w *Work, r *computev1.RunRequest) error
	// is says whether what is seen can only be there because the step was done. nil: nothing that can be seen tells, only
	// the agent's journal.
	is func(w *Work, seen *computev1.Observation) bool
	// done writes into the record what success leaves there beside the vm_state; nil for nothing.
	done func(w *Work)
}

// shows is a step that can be told by the power state it leads to.
func shows(p vm.PowerState) func(*Work, *computev1.Observation) bool {
	return func(_ *Work, seen *computev1.Observation) bool { return vm.PowerState(seen.GetPowerState()) == p }
}

func start() Kind {
	return power{
		verb: vm.Start, via: vm.PoweringOn, is: shows(vm.PowerRunning),
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Start{Start: &computev1.StartMachine{}}
			return nil
		},
	}.kind()
}

func stop() Kind {
	return power{
		verb: vm.Stop, via: vm.PoweringOff, is: shows(vm.PowerShutdown),
		do: func(w *Work, r *computev1.RunRequest) error {
			var p StopParams
			err := params(w.Task, &p)
			r.Action = &computev1.RunRequest_Stop{Stop: &computev1.StopMachine{Grace: durationpb.New(p.Grace)}}
			return err
		},
	}.kind()
}

// reboot cannot be told by looking: that a machine runs does not show that it was reset.
func reboot() Kind {
	return power{
		verb: vm.Reboot, via: vm.Rebooting, ways: map[fsm.Mode]vm.TaskState{fsm.RebootHard: vm.RebootingHard},
		do: func(w *Work, r *computev1.RunRequest) error {
			var p RebootParams
			err := params(w.Task, &p)
			r.Action = &computev1.RunRequest_Reboot{Reboot: &computev1.RebootMachine{Grace: durationpb.New(p.Grace)}}
			return err
		},
	}.kind()
}

func pause() Kind {
	return power{
		verb: vm.Pause, via: vm.Pausing, is: shows(vm.PowerPaused),
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Pause{Pause: &computev1.PauseMachine{}}
			return nil
		},
	}.kind()
}

func unpause() Kind {
	return power{
		verb: vm.Unpause, via: vm.Unpausing, is: shows(vm.PowerRunning),
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Unpause{Unpause: &computev1.UnpauseMachine{}}
			return nil
		},
	}.kind()
}

func suspend() Kind {
	return power{
		verb: vm.Suspend, via: vm.Suspending, is: shows(vm.PowerSuspended),
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Suspend{Suspend: &computev1.SuspendMachine{}}
			return nil
		},
	}.kind()
}

func resume() Kind {
	return power{
		verb: vm.Resume, via: vm.Resuming, is: shows(vm.PowerRunning),
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Resume{Resume: &computev1.ResumeMachine{}}
			return nil
		},
	}.kind()
}

func (p power) kind() Kind {
	step := string(p.via)
	ways := map[fsm.Mode]map[string]vm.TaskState{}
	for mode, via := range p.ways {
		ways[mode] = map[string]vm.TaskState{step: via}
	}
	return Kind{
		Verb: p.verb,
		Flow: workflow.Flow[*Work]{Name: string(p.verb), Steps: []workflow.Step[*Work]{{
			Name: step, Resume: workflow.Probe, Tries: 3, Backoff: time.Second,
			Do: p.act, Undo: find, Probe: p.probe,
		}}},
		States: map[string]vm.TaskState{step: p.via}, Ways: ways,
		Settle: p.settle,
	}
}

func (p power) act(ctx context.Context, w *Work, beat workflow.Beat) error {
	return w.onHost(ctx, string(p.via), p.do, beat)
}

// onHost has the instance's own host do one step.
func (w *Work) onHost(ctx context.Context, step string, do func(*Work, *computev1.RunRequest) error, beat workflow.Beat) error {
	if w.Instance.Host == "" {
		return errNoHost(w.Instance)
	}
	if err := do(w, &computev1.RunRequest{}); err != nil {
		return err
	}
	return w.act(ctx, w.Instance.Host, func(r *computev1.RunRequest) {
		r.Step = step
		_ = do(w, r) // it has just said that it can
	}, beat)
}

// probe tells whether the step of a former driver, or of an agent that died in it, was done. The agent's journal knows
// when the step was answered; what is seen tells what the machine does now.
func (p power) probe(ctx context.Context, w *Work) (workflow.Verdict, error) {
	seen, err := w.look(ctx, w.Instance.Host)
	if err != nil {
		return workflow.NotDone, err
	}
	if w.answered(seen, string(p.via)) || p.is != nil && p.is(w, seen) {
		return workflow.Done, nil
	}
	return workflow.NotDone, nil
}

// answered says whether the agent's journal has the step of this task as done.
func (w *Work) answered(seen *computev1.Observation, step string) bool {
	for _, e := range seen.GetJournal() {
		if e.GetTaskId() == string(w.Task.ID) && e.GetStep() == step && e.GetOutcome() == "done" {
			return true
		}
	}
	return false
}

// find is the undo of what is not taken back: a machine that was stopped is not started again because its task ended. It
// ends whatever of the step is still under way and sees where that left the machine, so that settle need not guess.
func find(ctx context.Context, w *Work, _ workflow.Beat) error {
	if w.Instance.Host == "" || w.Host(w.Instance.Host) == Removed {
		return nil
	}
	_, err := w.look(ctx, w.Instance.Host)
	return err
}

func (p power) settle(w *Work, out workflow.Outcome) {
	if out.Result != workflow.Succeeded {
		w.land(out)
		return
	}
	if p.done != nil {
		p.done(w)
	}
	w.succeed()
}

func decode(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("cannot read %s: %w", raw, err)
	}
	return nil
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}
