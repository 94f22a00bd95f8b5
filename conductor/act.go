package conductor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"leasehold/api/compute/v1"
	"leasehold/internal/rpc"
	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

const (
	// firstSave and mostGap say when progress becomes durable: not for what is over soon, and ever more rarely after.
	firstSave = 2 * time.Second
	mostGap   = 15 * time.Second
	// fenceTimeout is how long an agent may take to end older work before it is asked again.
	fenceTimeout = 30 * time.Second
)

// Now is the wall clock, for records.
func (w *worker) Now() time.Time { return time.Now().UTC() }

// Host is what the cache knows of a host.
func (w *worker) Host(host vm.HostName) tasks.Standing { return w.c.standing(host) }

// Candidates are all hosts as the scheduler wants them, with the newest known allocations.
func (w *worker) Candidates() []scheduler.Candidate { return w.c.candidates() }

// Act has the agent of host do one thing under the fence of this claim. A call whose answer was lost is repeated with the
// same sequence: the agent does it once. A3, P1
func (w *worker) Act(ctx context.Context, host vm.HostName, do tasks.Action, beat workflow.Beat) (*computev1.StepResult, error) {
	seq := w.seq.Add(1)
	w.saveAt, w.saveGap = time.Now().Add(firstSave), firstSave
	first, address := int64(0), ""
	var result *computev1.StepResult
	err := w.reach(ctx, host, beat, func(ctx context.Context, agent computev1.ComputeClient, epoch int64) (err error) {
		if first == 0 {
			first = epoch
		}
		if epoch != first {
			return workflow.Unknown(fmt.Errorf("host %s was registered anew during the step", host))
		}
		req := &computev1.RunRequest{
			Fence: fenceOf(w.held.Fence), Sequence: seq, TaskId: string(w.work.Task.ID), HostEpoch: epoch,
			Resources: resourcesOf(w.work.Task), InstanceId: string(w.work.Task.Instance), Conductor: string(w.c.cfg.Name),
		}
		do(req)
		if source := sourceOf(req); source != nil {
			address = cmp.Or(address, w.c.addressOf(source)) // a repetition says the same
			source.Address = address
		}
		w.c.point("agent:run:" + req.GetStep() + ":before")
		result, err = w.run(ctx, agent, req, beat)
		w.c.point("agent:run:" + req.GetStep() + ":after")
		return err
	})
	return result, err
}

// run makes one call and follows its progress to the result.
func (w *worker) run(ctx context.Context, agent computev1.ComputeClient, req *computev1.RunRequest, beat workflow.Beat) (*computev1.StepResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := agent.Run(ctx, req)
	if err != nil {
		return nil, err
	}
	for {
		update, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, status.Error(codes.Unavailable, "the agent ended the call without a result")
		}
		if err != nil {
			return nil, err
		}
		if p := update.GetProgress(); p != nil {
			w.report(p, beat)
			continue
		}
		if r := update.GetResult(); r != nil {
			return r, resultError(r)
		}
	}
}

// Fence raises the fence on a host, ends older work there and returns what is there. A4
func (w *worker) Fence(ctx context.Context, host vm.HostName, kill bool, beat workflow.Beat) (*computev1.Observation, error) {
	var seen *computev1.Observation
	err := w.reach(ctx, host, beat, func(ctx context.Context, agent computev1.ComputeClient, epoch int64) (err error) {
		ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
		defer cancel()
		w.c.point("agent:fence:before")
		req := &computev1.FenceRequest{
			InstanceId: string(w.work.Task.Instance), Fence: fenceOf(w.held.Fence), TaskId: string(w.work.Task.ID),
			Resources: resourcesOf(w.work.Task), HostEpoch: epoch, Conductor: string(w.c.cfg.Name), Kill: kill,
		}
		seen, err = agent.Fence(ctx, req) // mutant:fence-before-observe
		w.c.point("agent:fence:after")
		return err
	})
	return seen, err
}

type agentCall func(ctx context.Context, agent computev1.ComputeClient, epoch int64) error

// reach makes an agent call, waiting for the host while it is down and trying again while its agent restarts.
func (w *worker) reach(ctx context.Context, host vm.HostName, beat workflow.Beat, call agentCall) error {
	var failingSince time.Time
	pause := 20 * time.Millisecond
	for {
		alive, err := w.awaitHost(ctx, host, beat)
		if err != nil {
			return err
		}
		if err := w.trusted(); err != nil {
			return workflow.Abandon(err)
		}
		agent, err := w.c.agents.client(alive.Address)
		if err != nil {
			return workflow.Abandon(err)
		}
		err = rpc.FromStatus(call(ctx, agent, alive.Epoch))
		if err == nil || !again(ctx, err) {
			return w.settle(ctx, err)
		}
		if failingSince.IsZero() {
			failingSince = time.Now()
		}
		if time.Since(failingSince) > w.c.cfg.Unreachable && w.c.hostAlive(host) {
			return workflow.Abandon(fmt.Errorf("%w: %s at %s: %w", errUnreachable, host, alive.Address, err))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

// again says whether the call may not have arrived, or was not answered: it is repeated, which is safe with the same fence
// and sequence.
func again(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if _, lost := errors.AsType[*rpc.NoAnswerError](err); lost {
		return true
	}
	refusal, ok := errors.AsType[*vm.Refusal](err)
	// wrong_epoch: the host registered anew, and the cache has not heard of it yet. store_unavailable: it is registering.
	return ok && (refusal.Why == vm.ReasonWrongEpoch || refusal.Why == vm.ReasonStoreUnavailable)
}

// settle says what an agent's last answer means for the step. What run returned is classified already.
func (w *worker) settle(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case vm.ReasonOf(err) == vm.ReasonStaleFence:
		w.c.metrics.refused.Inc()
		return workflow.Abandon(fmt.Errorf("%w: %w", errLost, err))
	}
	return err
}

func resultError(r *computev1.StepResult) error {
	switch r.GetOutcome() {
	case "done":
		return nil
	case "interrupted":
		why := vm.Refuse(vm.Reason(r.GetReason()), "%s", r.GetMessage())
		if why.Why == vm.ReasonStaleFence {
			return why // it was begun, and then a newer claim came: settle knows what that means
		}
		return workflow.Unknown(why)
	}
	err := vm.Refuse(vm.Reason(r.GetReason()), "%s", r.GetMessage())
	if r.GetRetryable() {
		return workflow.Retryable(err)
	}
	return workflow.Permanent(err)
}

// awaitHost returns the host's registration, waiting while there is none. The wait stands in the task's record with its
// reason; it is not silence, so it beats. P7, P8
func (w *worker) awaitHost(ctx context.Context, host vm.HostName, beat workflow.Beat) (vm.AliveCompute, error) {
	var said bool
	tick := time.NewTicker(workflow.DefaultSilence / 6)
	defer tick.Stop()
	for {
		changed := w.c.hosts.changed()
		if alive, ok := w.c.hosts.alive(host); ok {
			if said {
				w.work.Task.Waiting = nil
			}
			return alive, nil
		}
		if w.c.standing(host) == tasks.Removed {
			return vm.AliveCompute{}, workflow.Permanent(&vm.Refusal{
				Why: vm.ReasonHostDown, Host: host, Message: fmt.Sprintf("cannot reach host %s: it was removed for good", host),
			})
		}
		if !said {
			said = true
			w.log.Info("waiting for a host", "host", host)
			w.work.Task.Waiting = &vm.Wait{
				Reason: vm.ReasonHostDown, Since: w.Now(), On: &vm.Resource{Kind: vm.KindHost, ID: string(host)},
				Message: fmt.Sprintf("host %s is down; the task goes on when it is back, or removed for good", host),
			}
			if w.kind.Verb == vm.Delete && w.work.Instance != nil {
				w.work.Hide(host)
			}
			if err := w.save("wait", w.Now()); err != nil {
				return vm.AliveCompute{}, workflow.Abandon(err)
			}
		}
		select {
		case <-ctx.Done():
			return vm.AliveCompute{}, context.Cause(ctx)
		case <-changed:
		case <-tick.C:
			beat(workflow.Progress{Phase: "waiting for host " + string(host)})
		}
	}
}

// report passes progress on, and makes it durable now and then so that every conductor can show it.
func (w *worker) report(p *computev1.StepProgress, beat workflow.Beat) {
	now := w.Now()
	beat(workflow.Progress{Phase: p.GetPhase(), Done: p.GetDone(), Total: p.GetTotal(), Unit: p.GetUnit(), Note: p.GetNote()})
	progress := &vm.Progress{
		Phase: p.GetPhase(), Done: p.GetDone(), Total: p.GetTotal(), Unit: p.GetUnit(), Note: p.GetNote(), At: now,
	}
	w.progress.Store(progress)
	w.c.watchers.poke(w.work.Task.ID)
	if time.Now().Before(w.saveAt) {
		return
	}
	w.saveGap = min(2*w.saveGap, mostGap)
	w.saveAt = time.Now().Add(w.saveGap)
	w.work.Task.Progress = progress
	if err := w.save("progress", now); err != nil {
		w.log.Debug("cannot save progress", "error", err)
	}
}

func fenceOf(f vm.Fence) *computev1.FenceToken {
	return &computev1.FenceToken{Generation: f.Generation, Revision: f.Revision}
}

func resourcesOf(t *vm.Task) []*computev1.ResourceRef {
	refs := make([]*computev1.ResourceRef, 0, len(t.Resources))
	for _, r := range slices.Concat(t.Resources, t.Shared) {
		refs = append(refs, &computev1.ResourceRef{Kind: string(r.Kind), Id: r.ID})
	}
	return refs
}
