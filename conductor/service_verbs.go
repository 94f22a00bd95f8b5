package conductor

import (
	"context"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/fsm"
	"leasehold/tasks"
	"leasehold/vm"
)

const (
	// defaultGrace is how long a guest may take to shut down before its power is cut.
	defaultGrace = time.Minute
	maxGrace     = time.Hour
)

// order turns a request for a verb into a task. A verb that is not built is refused, but only of an instance that exists.
func (s *service) order(ctx context.Context, id, requestID string, o Order) (*conductorv1.InstanceTask, error) {
	who, err := callerOf(ctx, requestID)
	if err != nil {
		return nil, err
	}
	found, err := s.c.instanceOf(ctx, who.project, id)
	if err != nil {
		return nil, err
	}
	o.Project, o.Instance, o.Key, o.By = who.project, found.rec.ID, who.key, who.by
	out, err := s.c.Admit(ctx, o)
	if err != nil {
		return nil, err
	}
	return s.c.admittedView(out), nil
}

// DeleteInstance is legal in every state and preempts whatever runs. P4
func (s *service) DeleteInstance(ctx context.Context, req *conductorv1.DeleteRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Delete})
}

// StartInstance starts a stopped instance.
func (s *service) StartInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Start})
}

// StopInstance asks the guest to shut down, and cuts the power when it does not obey in time.
func (s *service) StopInstance(ctx context.Context, req *conductorv1.StopRequest) (*conductorv1.InstanceTask, error) {
	grace := defaultGrace
	if req.GetTimeout() != nil {
		if grace = req.GetTimeout().AsDuration(); !req.GetTimeout().IsValid() || grace < 0 || grace > maxGrace {
			return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot give a guest %v to shut down: from 0s to %v", grace, maxGrace)
		}
	}
	if req.GetForce() {
		grace = 0
	}
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Stop, Params: tasks.StopParams{Grace: grace}})
}

// RebootInstance restarts the guest, softly unless hard is set.
func (s *service) RebootInstance(ctx context.Context, req *conductorv1.RebootRequest) (*conductorv1.InstanceTask, error) {
	o := Order{Verb: vm.Reboot, Mode: fsm.RebootSoft, Params: tasks.RebootParams{Grace: defaultGrace}}
	if req.GetHard() {
		o.Mode, o.Params = fsm.RebootHard, tasks.RebootParams{Hard: true}
	}
	return s.order(ctx, req.GetId(), req.GetRequestId(), o)
}

// PauseInstance stops the vCPUs and keeps the memory.
func (s *service) PauseInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Pause})
}

// UnpauseInstance continues a paused instance.
func (s *service) UnpauseInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Unpause})
}

// SuspendInstance and those below are not built yet: Admit has no kind for them and refuses them as unsupported.
func (s *service) SuspendInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Suspend})
}

// ResumeInstance is unsupported.
func (s *service) ResumeInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Resume})
}

// RescueInstance is unsupported.
func (s *service) RescueInstance(ctx context.Context, req *conductorv1.ImageVerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Rescue})
}

// UnrescueInstance is unsupported.
func (s *service) UnrescueInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Unrescue})
}

// RebuildInstance is unsupported.
func (s *service) RebuildInstance(ctx context.Context, req *conductorv1.ImageVerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Rebuild})
}

// SnapshotInstance is unsupported.
func (s *service) SnapshotInstance(ctx context.Context, req *conductorv1.SnapshotRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Snapshot})
}

// MoveInstance is unsupported.
func (s *service) MoveInstance(ctx context.Context, req *conductorv1.MoveRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Move})
}

// AttachVolumeInstance is unsupported.
func (s *service) AttachVolumeInstance(ctx context.Context, req *conductorv1.AttachRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.AttachVolume})
}

// DetachVolumeInstance is unsupported.
func (s *service) DetachVolumeInstance(ctx context.Context, req *conductorv1.AttachRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.DetachVolume})
}

// AttachPortInstance is unsupported.
func (s *service) AttachPortInstance(ctx context.Context, req *conductorv1.AttachRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.AttachPort})
}

// DetachPortInstance is unsupported.
func (s *service) DetachPortInstance(ctx context.Context, req *conductorv1.AttachRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.DetachPort})
}

// SetPasswordInstance is unsupported.
func (s *service) SetPasswordInstance(ctx context.Context, req *conductorv1.SetPasswordRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.SetPassword})
}

// ListActions tells, for every verb, whether it is legal now, and why not when it is not. P8
func (s *service) ListActions(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.ListActionsResponse, error) {
	found, err := s.sought(ctx, req)
	if err != nil {
		return nil, err
	}
	in := found.rec
	out := &conductorv1.ListActionsResponse{Id: string(in.ID), VmState: string(in.State), TaskState: string(in.TaskState)}
	for _, verb := range vm.Verbs() {
		out.Actions = append(out.Actions, s.c.action(in, verb))
	}
	return out, nil
}

func (c *Conductor) action(in *vm.Instance, verb vm.Verb) *conductorv1.Action {
	a := &conductorv1.Action{Action: string(verb)}
	if _, built := c.kinds[verb]; !built {
		a.Reason, a.Message = string(vm.ReasonUnsupported), "cannot "+string(verb)+": this is not built yet"
		return a
	}
	v := c.decide(in, verb, fsm.Auto)
	if v.Kind != fsm.Allowed {
		refusal := v.Refusal(string(in.ID))
		a.Reason, a.Message = string(refusal.Why), refusal.Message
		return a
	}
	a.Legal, a.Message, a.Via, a.To = true, v.Why, string(v.Row.Via), string(v.To)
	if verb == vm.Delete && in.DeleteProtection {
		a.Legal, a.Reason = false, string(vm.ReasonStateForbids)
		a.Message = "it is protected; set delete_protection to false first"
	}
	return a
}
