package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

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

// SuspendInstance saves the memory to disk and frees the host's.
func (s *service) SuspendInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Suspend})
}

// ResumeInstance goes on from the saved memory.
func (s *service) ResumeInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Resume})
}

// RescueInstance starts the instance from a disk made of an image, its own by default.
func (s *service) RescueInstance(ctx context.Context, req *conductorv1.ImageVerbRequest) (*conductorv1.InstanceTask, error) {
	return s.orderOfImage(ctx, req, vm.Rescue)
}

// UnrescueInstance starts it from its own disk again.
func (s *service) UnrescueInstance(ctx context.Context, req *conductorv1.VerbRequest) (*conductorv1.InstanceTask, error) {
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: vm.Unrescue})
}

// RebuildInstance makes the disk anew from an image, its own by default.
func (s *service) RebuildInstance(ctx context.Context, req *conductorv1.ImageVerbRequest) (*conductorv1.InstanceTask, error) {
	return s.orderOfImage(ctx, req, vm.Rebuild)
}

// orderOfImage orders a verb that makes a disk of an image.
func (s *service) orderOfImage(ctx context.Context, req *conductorv1.ImageVerbRequest, verb vm.Verb) (*conductorv1.InstanceTask, error) {
	who, err := callerOf(ctx, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	found, err := s.c.instanceOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	id := found.rec.Image
	if req.GetImage() != "" {
		img, _, err := s.c.imageOf(ctx, who.project, req.GetImage())
		if err != nil {
			return nil, err
		}
		if err := usable(img); err != nil {
			return nil, err
		}
		id = img.ID
	}
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{Verb: verb, Params: tasks.ImageParams{Image: id}, Uses: id})
}

// SnapshotInstance makes an image of the disk; its record is there at once and says that it is being saved.
func (s *service) SnapshotInstance(ctx context.Context, req *conductorv1.SnapshotRequest) (*conductorv1.InstanceTask, error) {
	who, err := callerOf(ctx, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	if req.GetName() == "" {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot make a snapshot of instance %s without a name for its image", shown(req.GetId()))
	}
	if err := checkName(vm.KindImage, req.GetName()); err != nil {
		return nil, err
	}
	uid, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot make an id: %w", err)
	}
	img := &vm.Image{Schema: vm.Schema, ID: vm.ImageID(uid.String()), Name: req.GetName(), Project: who.project}
	return s.order(ctx, req.GetId(), req.GetRequestId(), Order{
		Verb: vm.Snapshot, Params: tasks.SnapshotParams{Image: img.ID}, Same: req.GetName(), Saves: img,
	})
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
	if err := c.able(in, verb); err != nil {
		a.Legal, a.Reason, a.Message = false, string(vm.ReasonOf(err)), err.Error()
	}
	if verb == vm.Delete && in.DeleteProtection {
		a.Legal, a.Reason = false, string(vm.ReasonStateForbids)
		a.Message = "it is protected; set delete_protection to false first"
	}
	return a
}
