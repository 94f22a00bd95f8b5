package conductor

import (
	"context"
	"errors"
	"maps"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// CreateInstance admits a new instance and the task that builds it.
func (s *service) CreateInstance(ctx context.Context, req *conductorv1.CreateInstanceRequest) (*conductorv1.InstanceTask, error) {
	who, err := callerOf(ctx, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	want, err := s.wanted(ctx, who, req)
	if err != nil {
		return nil, err
	}
	out, err := s.c.Create(ctx, Order{Project: who.project, Key: who.key, By: who.by}, want)
	if err != nil {
		return nil, err
	}
	return s.c.admittedView(out), nil
}

// wanted checks a create request and resolves what it names. Missing things are told first by what they are.
func (s *service) wanted(ctx context.Context, who caller, req *conductorv1.CreateInstanceRequest) (want CreateOrder, err error) {
	want = CreateOrder{
		Name: req.GetName(), Metadata: req.GetMetadata(), Availability: vm.Availability(req.GetAvailability()),
		Host: vm.HostName(req.GetHost()), DeleteProtection: req.GetDeleteProtection(),
		OnHostBoot: vm.OnHostBoot(req.GetOnHostBoot()),
	}
	if want.Name != "" {
		if err := checkName(vm.KindInstance, want.Name); err != nil {
			return want, err
		}
	}
	if err := checkMetadata(want.Metadata); err != nil {
		return want, err
	}
	switch want.Availability {
	case "", vm.AvailabilityNone, vm.AvailabilityRestart:
	default:
		return want, vm.Refuse(vm.ReasonInvalidArgument, "cannot create an instance with availability %s: it is %s or %s",
			shown(req.GetAvailability()), vm.AvailabilityNone, vm.AvailabilityRestart)
	}
	if req.GetFlavor() == "" {
		return want, vm.Refuse(vm.ReasonInvalidArgument, "cannot create an instance without a flavor: name one of GET /v1/flavors")
	}
	if req.GetImage() == "" {
		return want, vm.Refuse(vm.ReasonInvalidArgument, "cannot create an instance without an image: name one of GET /v1/images")
	}
	if want.Flavor, _, err = s.c.flavorOf(ctx, req.GetFlavor()); err != nil {
		return want, err
	}
	if want.Image, _, err = s.c.imageOf(ctx, who.project, req.GetImage()); err != nil {
		return want, err
	}
	if err := usable(want.Image); err != nil {
		return want, err
	}
	switch want.OnHostBoot {
	case "", vm.HostBootRestart, vm.HostBootStopped:
	default:
		return want, badOnHostBoot(req.GetOnHostBoot())
	}
	if want.Host != "" {
		_, _, err = s.c.hostOf(ctx, req.GetHost())
	}
	return want, err
}

// GetInstance shows one instance; a deleted one while its history is kept.
func (s *service) GetInstance(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Instance, error) {
	found, err := s.sought(ctx, req)
	if err != nil {
		return nil, err
	}
	return s.c.instanceView(found.rec, found.mod), nil
}

// sought is the instance that a reading request names.
func (s *service) sought(ctx context.Context, req *conductorv1.GetRequest) (*foundInstance, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	return s.c.instanceOf(ctx, who.project, req.GetId())
}

// UpdateInstance edits what belongs to people: name, metadata, protection. It is legal while a task runs: the task takes
// the edit over (worker.adopt).
func (s *service) UpdateInstance(ctx context.Context, req *conductorv1.UpdateInstanceRequest) (*conductorv1.Instance, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if req.GetName() != "" {
		if err := checkName(vm.KindInstance, req.GetName()); err != nil {
			return nil, err
		}
	}
	if err := checkMetadata(req.GetMetadata()); err != nil {
		return nil, err
	}
	switch vm.OnHostBoot(req.GetOnHostBoot()) {
	case "", vm.HostBootRestart, vm.HostBootStopped:
	default:
		return nil, badOnHostBoot(req.GetOnHostBoot())
	}
	if req.GetIfRevision() < 0 {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot compare with revision %d: it is below zero", req.GetIfRevision())
	}
	found, err := s.c.instanceOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	for range admitTries {
		in, mod, err := s.c.edit(ctx, found, req)
		if _, changed := errors.AsType[*coord.ConflictError](err); !changed {
			if err != nil {
				return nil, err
			}
			s.c.settled(ctx, mod)
			return s.c.instanceView(in, mod), nil
		}
		if found, err = s.c.readInstance(ctx, found.rec.ID); err != nil {
			return nil, err
		}
	}
	return nil, vm.Refuse(vm.ReasonLocked, "cannot update instance %s: its record kept changing; try again", req.GetId())
}

// edit makes one attempt on the record found. A *coord.ConflictError means that the record has changed.
func (c *Conductor) edit(ctx context.Context, found *foundInstance, req *conductorv1.UpdateInstanceRequest) (*vm.Instance, int64, error) {
	in := found.rec
	if found.gone || in.State == vm.Deleted {
		return nil, 0, &vm.Refusal{
			Why: vm.ReasonStateForbids, Since: in.Since, Allowed: []vm.Verb{vm.Delete},
			Message: "cannot update instance " + string(in.ID) + ": it is deleted",
		}
	}
	if want := req.GetIfRevision(); want != 0 && want != found.mod {
		if !found.fresh { // no refusal is given from the cache alone
			fresh, err := c.readInstance(ctx, in.ID)
			if err != nil {
				return nil, 0, err
			}
			return c.edit(ctx, fresh, req)
		}
		return nil, 0, vm.Refuse(vm.ReasonInUse, "cannot update instance %s: its revision is %d, not %d; read it again", in.ID, found.mod, want)
	}
	next, err := edited(in, req)
	if err != nil || next == nil {
		return in, found.mod, err
	}
	t := &coord.Txn{Name: "instance.update"}
	t.If(c.generation().guard, coord.Unchanged(c.keys.Instance(in.ID), found.mod))
	t.Then(coord.Put(c.keys.Instance(in.ID), next).Witness())
	name := c.keys.Name(vm.KindInstance, in.Project, next.Name)
	if next.Name != in.Name {
		t.If(coord.Absent(name))
		t.Then(coord.Delete(c.keys.Name(vm.KindInstance, in.Project, in.Name)), coord.Put(name, nameOwner{vm.Schema, string(in.ID)}))
	}
	rev, err := c.store.Commit(ctx, t)
	if conflict, ok := errors.AsType[*coord.ConflictError](err); ok && next.Name != in.Name {
		if taken := c.nameTaken(conflict, name, vm.KindInstance, next.Name, in.Project); taken != nil {
			return nil, 0, taken
		}
	}
	return next, rev, err
}

// edited is a copy of the record with the request's changes; nil when it asks for nothing new.
func edited(in *vm.Instance, req *conductorv1.UpdateInstanceRequest) (*vm.Instance, error) {
	next := in.Clone()
	if req.GetName() != "" {
		next.Name = req.GetName()
	}
	if next.Metadata == nil {
		next.Metadata = map[string]string{}
	}
	maps.Copy(next.Metadata, req.GetMetadata())
	maps.DeleteFunc(next.Metadata, func(key, _ string) bool {
		value, named := req.GetMetadata()[key]
		return named && value == ""
	})
	if err := checkMetadata(next.Metadata); err != nil {
		return nil, err
	}
	if req.DeleteProtection != nil {
		next.DeleteProtection = req.GetDeleteProtection()
	}
	if req.GetOnHostBoot() != "" {
		next.OnHostBoot = vm.OnHostBoot(req.GetOnHostBoot())
	}
	if next.Name == in.Name && next.OnHostBoot == in.OnHostBoot && next.DeleteProtection == in.DeleteProtection && maps.Equal(next.Metadata, in.Metadata) {
		return nil, nil
	}
	next.UpdatedAt = time.Now().UTC()
	return next, nil
}

func badOnHostBoot(typed string) error {
	return vm.Refuse(vm.ReasonInvalidArgument, "cannot use on_host_boot %s: it is %s or %s", shown(typed), vm.HostBootRestart, vm.HostBootStopped)
}

// nameTaken makes the refusal for a name that somebody else has; nil when that was not what refused the transaction.
func (c *Conductor) nameTaken(conflict *coord.ConflictError, key string, kind vm.Kind, name string, project vm.ProjectName) error {
	kv, taken := conflict.Now(key)
	if !taken {
		return nil
	}
	var owner nameOwner
	if err := kv.Decode(&owner); err != nil {
		return err
	}
	return vm.Refuse(vm.ReasonAlreadyExists, "cannot give a second %s the name %q: %s %s of project %s has it; choose another",
		kind, name, kind, owner.ID, project)
}
