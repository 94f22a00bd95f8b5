package clitest

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/fsm"
	"leasehold/vm"
)

// orderTo is an order to an existing instance.
type orderTo interface {
	proto.Message
	GetId() string
	GetRequestId() string
}

// subject is what the rules look at.
func subject(i *conductorv1.Instance) fsm.Subject {
	s := fsm.Subject{
		State: vm.State(i.GetVmState()), TaskState: vm.TaskState(i.GetTaskState()), Task: vm.TaskID(i.GetTask()),
		Rescued: i.GetRescue() != nil,
	}
	if i.GetHostStatus() == "down" {
		s.Down = &fsm.Down{Host: vm.HostName(i.GetHost()), Since: Began}
	}
	return s
}

// legal is the instance and the first thing that a verb does with it, when the rules allow it now. Called with the
// mutex.
func (c conductor) legal(ref string, on vm.Verb) (*conductorv1.Instance, vm.TaskState, error) {
	i := c.find(ref)
	if i == nil {
		return nil, "", unknown(ref)
	}
	verdict := fsm.Decide(subject(i), on, fsm.Auto)
	if refusal := verdict.Refusal(i.GetName()); refusal != nil {
		return nil, "", refusal
	}
	return i, verdict.Row.Via, nil
}

// verb admits what the rules allow, with an image that can be used.
func (c conductor) verb(req orderTo, on vm.Verb, image string) (*conductorv1.InstanceTask, error) {
	return c.order(req, func() (*conductorv1.InstanceTask, error) {
		i, via, err := c.legal(req.GetId(), on)
		if err == nil && image != "" {
			err = c.usable(image)
		}
		if err != nil {
			return nil, err
		}
		return c.admit(i, on, via), nil
	})
}

func (c conductor) SuspendInstance(_ context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return c.verb(req, vm.Suspend, "")
}

func (c conductor) ResumeInstance(_ context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return c.verb(req, vm.Resume, "")
}

func (c conductor) RescueInstance(
	_ context.Context, req *conductorv1.ImageVerbRequest,
) (*conductorv1.InstanceTask, error) {
	return c.verb(req, vm.Rescue, req.GetImage())
}

func (c conductor) UnrescueInstance(_ context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return c.verb(req, vm.Unrescue, "")
}

func (c conductor) RebuildInstance(
	_ context.Context, req *conductorv1.ImageVerbRequest,
) (*conductorv1.InstanceTask, error) {
	return c.verb(req, vm.Rebuild, req.GetImage())
}

func (c conductor) SnapshotInstance(
	_ context.Context, req *conductorv1.SnapshotRequest,
) (*conductorv1.InstanceTask, error) {
	return c.order(req, func() (*conductorv1.InstanceTask, error) {
		i, via, err := c.legal(req.GetId(), vm.Snapshot)
		if err != nil {
			return nil, err
		}
		if c.findImage(req.GetName()) != nil {
			return nil, taken(req.GetName())
		}
		answer := c.admit(i, vm.Snapshot, via)
		answer.Image = proto.CloneOf(c.saves(req.GetName(), answer.GetTask().GetId()))
		return answer, nil
	})
}

func (c conductor) SetPasswordInstance(
	_ context.Context, req *conductorv1.SetPasswordRequest,
) (*conductorv1.InstanceTask, error) {
	if p := req.GetPassword(); p == "" || len(p) > 128 || strings.ContainsAny(p, "\r\n") {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot set a password of %d bytes, or one with a line break", len(p))
	}
	return c.verb(req, vm.SetPassword, "")
}

// GetUsage says that the one processor of a running machine has run 90 s and waited 1.5 s.
func (c conductor) GetUsage(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.find(req.GetId())
	if i == nil {
		return nil, unknown(req.GetId())
	}
	u := &conductorv1.Usage{Id: i.GetId(), Host: i.GetHost()}
	if i.GetVmState() == string(vm.Active) {
		u.Vcpus = []*conductorv1.VCPU{{
			Run: durationpb.New(90 * time.Second), Wait: durationpb.New(1500 * time.Millisecond),
		}}
	}
	return u, nil
}

func (c conductor) ListActions(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.ListActionsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.find(req.GetId())
	if i == nil {
		return nil, unknown(req.GetId())
	}
	r := &conductorv1.ListActionsResponse{Id: i.GetId(), VmState: i.GetVmState(), TaskState: i.GetTaskState()}
	for _, on := range vm.Verbs() {
		a := &conductorv1.Action{Action: string(on)}
		verdict := fsm.Decide(subject(i), on, fsm.Auto)
		if refusal := verdict.Refusal(i.GetId()); refusal != nil {
			a.Reason, a.Message = string(refusal.Why), refusal.Message
		} else {
			a.Legal, a.Via, a.To, a.Message = true, string(verdict.Row.Via), string(verdict.To), verdict.Why
		}
		r.Actions = append(r.Actions, a)
	}
	return r, nil
}

// GetFSM has a row of each table.
func (c conductor) GetFSM(context.Context, *conductorv1.ListRequest) (*conductorv1.FSM, error) {
	return &conductorv1.FSM{
		Actions: []*conductorv1.ActionRow{
			{From: "active", Action: "stop", Via: "powering_off", To: "stopped", Host: "up", Why: "asked"},
		},
		Recovery: []*conductorv1.RecoveryRow{
			{TaskState: "pausing", Policy: "probe", Then: "redo", Why: "it may have happened"},
		},
		Power: []*conductorv1.PowerRow{
			{VmState: "active", PowerState: "shutdown", Does: "follow", To: "stopped", Why: "it powered itself off"},
		},
		Restart: []*conductorv1.RestartRow{
			{Finding: "fence", Does: "refuses everything older", Why: "it was synced"},
		},
	}, nil
}
