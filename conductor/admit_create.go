package conductor

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"leasehold/coord"
	"leasehold/fsm"
	"leasehold/locks"
	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
)

// CreateOrder is a request for a new instance, with image and flavor resolved.
type CreateOrder struct {
	Name             string
	Flavor           *vm.Flavor
	Image            *vm.Image
	Metadata         map[string]string
	Availability     vm.Availability
	Host             vm.HostName
	DeleteProtection bool
	OnHostBoot       vm.OnHostBoot
}

// createKey is what two create requests under one idempotency key must have in common.
type createKey struct {
	Name             string
	Flavor           string
	Image            vm.ImageID
	Metadata         map[string]string
	Host             vm.HostName
	Availability     vm.Availability
	DeleteProtection bool
	OnHostBoot       vm.OnHostBoot
}

// Create admits a new instance and the task that builds it.
func (c *Conductor) Create(ctx context.Context, o Order, want CreateOrder) (*Admitted, error) {
	o.Verb = vm.Create
	o.Params = createKey{
		Name: want.Name, Flavor: want.Flavor.Name, Image: want.Image.ID, Metadata: want.Metadata, Host: want.Host,
		Availability: want.Availability, DeleteProtection: want.DeleteProtection, OnHostBoot: want.OnHostBoot,
	}
	a, err := c.newAdmission(o)
	if err != nil {
		return nil, err
	}
	a.order.Params = tasks.CreateParams{Host: want.Host}
	uid, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot make an id: %w", err)
	}
	in := a.newInstance(vm.InstanceID(uid.String()), want)
	if err := c.fits(ctx, in, want.Host); err != nil {
		// The request may be one that was admitted before, when there was room.
		if used, kerr := a.keyUsed(ctx); used != nil || kerr != nil {
			return used, kerr
		}
		return nil, err
	}
	set, err := locks.NewSet(vm.Resource{Kind: vm.KindInstance, ID: string(in.ID)})
	if err != nil {
		return nil, err
	}
	for range admitTries {
		out, err := a.tryCreate(ctx, in.Clone(), want, set)
		conflict, refused := errors.AsType[*coord.ConflictError](err)
		if !refused {
			return out, err
		}
		if kv, ok := conflict.Now(c.keys.Request(o.Project, o.Key)); ok && o.Key != "" {
			return a.repeated(ctx, kv)
		}
		name := c.keys.Name(vm.KindInstance, o.Project, in.Name)
		if kv, taken := conflict.Now(name); taken {
			var owner nameOwner
			if err := kv.Decode(&owner); err != nil {
				return nil, err
			}
			return nil, vm.Refuse(vm.ReasonAlreadyExists,
				"cannot create instance %q: instance %s of project %s has that name; choose another, or delete that one first",
				in.Name, owner.ID, o.Project)
		}
		for _, failed := range conflict.Failed {
			kv, found := conflict.Now(failed)
			if failed == c.keys.Image(in.Image) && !found {
				return nil, vm.Refuse(vm.ReasonNotFound, "cannot create instance %q: image %s was deleted meanwhile", in.Name, in.Image)
			}
			c.relearn(ctx, kv, found)
		}
	}
	return nil, vm.Refuse(vm.ReasonStoreUnavailable, "cannot create instance %q: the store kept changing; try again", in.Name)
}

// fits refuses what no host has room for now. It is courtesy: placing decides. A cache that is late is not believed.
func (c *Conductor) fits(ctx context.Context, in *vm.Instance, host vm.HostName) error {
	req := scheduler.Request{Instance: in.ID, Size: in.Size, Host: host}
	if _, err := scheduler.Place(req, c.candidates()); err == nil {
		return nil
	}
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	_, err := scheduler.Place(req, c.candidates())
	return err
}

// nameOwner is the value of a name's key.
type nameOwner struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"`
}

func (a *admission) newInstance(id vm.InstanceID, want CreateOrder) *vm.Instance {
	in := &vm.Instance{
		Schema: vm.Schema, ID: id, Name: want.Name, Project: a.order.Project, State: vm.Building, Flavor: want.Flavor.Name,
		Image: want.Image.ID, Size: want.Flavor.Size, Volumes: []vm.VolumeID{}, Ports: []vm.PortID{},
		Footprint: []vm.HostName{}, Metadata: want.Metadata, Availability: want.Availability,
		DeleteProtection: want.DeleteProtection, OnHostBoot: cmp.Or(want.OnHostBoot, vm.HostBootRestart), CreatedAt: a.now, UpdatedAt: a.now, Since: a.now,
	}
	if in.Name == "" {
		in.Name = "instance-" + string(id)[len(id)-12:]
	}
	if in.Availability == "" {
		in.Availability = vm.AvailabilityNone
	}
	return in
}

func (a *admission) tryCreate(ctx context.Context, in *vm.Instance, want CreateOrder, set locks.Set) (*Admitted, error) {
	task, err := a.newTask(in, set)
	if err != nil {
		return nil, err
	}
	in.Task, in.TaskState = task.ID, a.firstState(fsm.Auto)
	k := a.c.keys
	t := &coord.Txn{Name: "create.admit"}
	t.If(a.c.generation().guard, coord.Absent(k.Instance(in.ID)), coord.Absent(k.Name(vm.KindInstance, in.Project, in.Name)),
		coord.Present(k.Image(want.Image.ID)))
	a.reserveKey(t, in.ID)
	s, err := a.drive(t, task, set)
	if err != nil {
		return nil, err
	}
	t.Then(
		coord.Put(k.Task(task.ID), task).Witness(), coord.Put(k.Instance(in.ID), in),
		coord.Put(k.Name(vm.KindInstance, in.Project, in.Name), nameOwner{vm.Schema, string(in.ID)}),
	)
	return a.commit(ctx, t, s, task, set, in)
}
