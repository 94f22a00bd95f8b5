package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"leasehold/api/compute/v1"
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

// power describes a verb that does one thing on the instance's host and leaves it in one power state.
type power struct {
	verb  vm.Verb
	via   vm.TaskState
	shows vm.PowerState // what a finished step looks like from outside
	do    func(w *Work, r *computev1.RunRequest) error
	// again says that the power state cannot tell whether it happened: only the agent's journal can.
	again bool
}

func start() Kind {
	return power{
		verb: vm.Start, via: vm.PoweringOn, shows: vm.PowerRunning,
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Start{Start: &computev1.StartMachine{}}
			return nil
		},
	}.kind()
}

func stop() Kind {
	return power{
		verb: vm.Stop, via: vm.PoweringOff, shows: vm.PowerShutdown,
		do: func(w *Work, r *computev1.RunRequest) error {
			var p StopParams
			err := params(w.Task, &p)
			r.Action = &computev1.RunRequest_Stop{Stop: &computev1.StopMachine{Grace: durationpb.New(p.Grace)}}
			return err
		},
	}.kind()
}

func reboot() Kind {
	return power{
		verb: vm.Reboot, via: vm.Rebooting, shows: vm.PowerRunning, again: true,
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
		verb: vm.Pause, via: vm.Pausing, shows: vm.PowerPaused,
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Pause{Pause: &computev1.PauseMachine{}}
			return nil
		},
	}.kind()
}

func unpause() Kind {
	return power{
		verb: vm.Unpause, via: vm.Unpausing, shows: vm.PowerRunning,
		do: func(_ *Work, r *computev1.RunRequest) error {
			r.Action = &computev1.RunRequest_Unpause{Unpause: &computev1.UnpauseMachine{}}
			return nil
		},
	}.kind()
}

func (p power) kind() Kind {
	step := string(p.via)
	return Kind{
		Verb: p.verb,
		Flow: workflow.Flow[*Work]{Name: string(p.verb), Steps: []workflow.Step[*Work]{{
			Name: step, Resume: workflow.Probe, Tries: 3, Backoff: time.Second,
			Do: p.act, Undo: p.find, Probe: p.probe,
		}}},
		States: map[string]vm.TaskState{step: p.via},
		Settle: p.settle,
	}
}

func (p power) act(ctx context.Context, w *Work, beat workflow.Beat) error {
	if w.Instance.Host == "" {
		return errNoHost(w.Instance)
	}
	var err error
	do := func(r *computev1.RunRequest) {
		r.Step = string(p.via)
		err = p.do(w, r)
	}
	if do(&computev1.RunRequest{}); err != nil {
		return err
	}
	return w.act(ctx, w.Instance.Host, do, beat)
}

// probe tells whether the step of a former driver, or of an agent that died in it, was done. The agent's journal knows
// when the step was answered; the power state knows what the machine does now.
func (p power) probe(ctx context.Context, w *Work) (workflow.Verdict, error) {
	seen, err := w.look(ctx, w.Instance.Host)
	if err != nil {
		return workflow.NotDone, err
	}
	for _, e := range seen.GetJournal() {
		if e.GetTaskId() == string(w.Task.ID) && e.GetStep() == string(p.via) && e.GetOutcome() == "done" {
			return workflow.Done, nil
		}
	}
	if !p.again && vm.PowerState(seen.GetPowerState()) == p.shows {
		return workflow.Done, nil
	}
	return workflow.NotDone, nil
}

// find is the undo. It takes nothing back: a machine that was stopped is not started again because its task ended. It
// ends whatever of the step is still under way and sees where that left the machine, so that settle need not guess.
func (p power) find(ctx context.Context, w *Work, _ workflow.Beat) error {
	if w.Instance.Host == "" {
		return nil
	}
	_, err := w.look(ctx, w.Instance.Host)
	return err
}

// settle goes by what was seen last when the step failed: an instance is where its machine is, not where it was asked to
// be. A machine that crashed or does not answer is not as it was before, though nothing is left to undo.
func (p power) settle(w *Work, out workflow.Outcome) {
	if out.Result == workflow.Succeeded {
		w.succeed()
		return
	}
	switch vm.PowerState(w.Observed.GetPowerState()) {
	case vm.PowerRunning:
		w.enter(vm.Active)
	case vm.PowerPaused:
		w.enter(vm.Paused)
	case vm.PowerShutdown:
		w.enter(vm.Stopped)
	default:
		out.Undone = w.Observed == nil
		w.failed(out)
	}
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
