package conductor

import (
	"context"
	"errors"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// flavorOf finds a flavor by name.
func (c *Conductor) flavorOf(ctx context.Context, name string) (*vm.Flavor, int64, error) {
	if !validName(name) {
		return nil, 0, notFound(vm.KindFlavor, name)
	}
	f, mod, err := load[vm.Flavor](ctx, c, c.keys.Flavor(name))
	if errors.Is(err, coord.ErrNotFound) {
		err = notFound(vm.KindFlavor, name)
	}
	return f, mod, err
}

// The largest flavor: no host has more, and sums of many stay far from overflow.
const (
	maxVCPUs     = 256
	maxMemoryMiB = 16 << 20
	maxDiskGiB   = 1 << 20
)

// CreateFlavor names a size.
func (s *service) CreateFlavor(ctx context.Context, req *conductorv1.CreateFlavorRequest) (*conductorv1.Flavor, error) {
	if err := checkName(vm.KindFlavor, req.GetName()); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name     string
		is, most int32
	}{
		{"vcpus", req.GetVcpus(), maxVCPUs}, {"memory_mib", req.GetMemoryMib(), maxMemoryMiB}, {"disk_gib", req.GetDiskGib(), maxDiskGiB},
	} {
		if part.is < 1 || part.is > part.most {
			return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot make flavor %q with %d %s: from 1 to %d", req.GetName(), part.is,
				part.name, part.most)
		}
	}
	now := time.Now().UTC()
	f := &vm.Flavor{
		Schema: vm.Schema, ID: req.GetName(), Name: req.GetName(), CreatedAt: now, UpdatedAt: now,
		Size: vm.Size{VCPUs: int(req.GetVcpus()), MemoryMiB: vm.MiB(req.GetMemoryMib()), DiskGiB: vm.GiB(req.GetDiskGib())},
	}
	key := s.c.keys.Flavor(f.Name)
	t := &coord.Txn{Name: "flavor.create"}
	t.If(coord.Absent(key)).Then(coord.Put(key, f).Witness())
	rev, err := s.c.store.Commit(ctx, t)
	if _, taken := errors.AsType[*coord.ConflictError](err); taken {
		return nil, vm.Refuse(vm.ReasonAlreadyExists, "cannot make a second flavor %q; choose another name", f.Name)
	}
	if err != nil {
		return nil, err
	}
	s.c.settled(ctx, rev)
	return flavorView(f, rev), nil
}

// ListFlavors lists all flavors by name.
func (s *service) ListFlavors(ctx context.Context, req *conductorv1.ListRequest) (*conductorv1.ListFlavorsResponse, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	out := &conductorv1.ListFlavorsResponse{Revision: s.c.cache.Revision()}
	part, next, err := listing[rec[vm.Flavor]]{
		items: records[vm.Flavor](s.c, coord.Flavors), id: func(f rec[vm.Flavor]) string { return f.is.ID }, query: "flavors",
	}.page(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	for _, f := range part {
		out.Flavors = append(out.Flavors, flavorView(f.is, f.mod))
	}
	out.NextPageToken = next
	return out, nil
}

// GetFlavor shows one flavor.
func (s *service) GetFlavor(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Flavor, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	f, mod, err := s.c.flavorOf(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return flavorView(f, mod), nil
}

// DeleteFlavor leaves instances as they are: they carry their own size.
func (s *service) DeleteFlavor(ctx context.Context, req *conductorv1.DeleteRequest) (*conductorv1.Empty, error) {
	who, err := callerOf(ctx, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	f, mod, err := s.c.flavorOf(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	key := s.c.keys.Flavor(f.Name)
	t := &coord.Txn{Name: "flavor.delete"}
	t.If(coord.Unchanged(key, mod))
	t.Then(coord.Delete(key), s.c.removal(vm.Resource{Kind: vm.KindFlavor, ID: f.Name}, who))
	rev, err := s.c.store.Commit(ctx, t)
	if conflict, ok := errors.AsType[*coord.ConflictError](err); ok {
		if _, there := conflict.Now(key); !there {
			return nil, notFound(vm.KindFlavor, req.GetId())
		}
		return nil, vm.Refuse(vm.ReasonLocked, "cannot delete flavor %q: it was made anew meanwhile; try again", f.Name)
	}
	if err != nil {
		return nil, err
	}
	s.c.settled(ctx, rev)
	return &conductorv1.Empty{}, nil
}
