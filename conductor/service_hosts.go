package conductor

import (
	"context"
	"errors"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// hostOf finds a host's record by name.
func (c *Conductor) hostOf(ctx context.Context, name string) (*vm.Host, int64, error) {
	if !validName(name) {
		return nil, 0, notFound(vm.KindHost, name)
	}
	h, mod, err := load[vm.Host](ctx, c, c.keys.Host(vm.HostName(name)))
	if errors.Is(err, coord.ErrNotFound) {
		err = notFound(vm.KindHost, name)
	}
	return h, mod, err
}

// ListHosts lists all hosts by name.
func (s *service) ListHosts(ctx context.Context, req *conductorv1.ListRequest) (*conductorv1.ListHostsResponse, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	out := &conductorv1.ListHostsResponse{Revision: s.c.cache.Revision()}
	part, next, err := listing[rec[vm.Host]]{
		items: records[vm.Host](s.c, coord.Hosts), id: func(h rec[vm.Host]) string { return string(h.is.ID) }, query: "hosts",
	}.page(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	for _, h := range part {
		out.Hosts = append(out.Hosts, s.c.hostView(h.is, h.mod))
	}
	out.NextPageToken = next
	return out, nil
}

// GetHost shows one host.
func (s *service) GetHost(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Host, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	h, mod, err := s.c.hostOf(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return s.c.hostView(h, mod), nil
}

// EnableHost lets the scheduler use the host again.
func (s *service) EnableHost(ctx context.Context, req *conductorv1.HostVerbRequest) (*conductorv1.Host, error) {
	return s.administer(ctx, req.GetId(), vm.HostEnabled)
}

// DisableHost keeps what runs there and places nothing new.
func (s *service) DisableHost(ctx context.Context, req *conductorv1.HostVerbRequest) (*conductorv1.Host, error) {
	return s.administer(ctx, req.GetId(), vm.HostDisabled)
}

// administer writes what the operator wants of a host. Wanting what is so already changes nothing and is no error.
func (s *service) administer(ctx context.Context, name string, want vm.HostAdmin) (*conductorv1.Host, error) {
	h, mod, err := s.c.hostOf(ctx, name)
	if err != nil {
		return nil, err
	}
	key := s.c.keys.Host(h.Name)
	for range admitTries {
		if h.Admin == want {
			return s.c.hostView(h, mod), nil
		}
		next := *h
		next.Admin, next.UpdatedAt = want, time.Now().UTC()
		t := &coord.Txn{Name: "host." + string(want)}
		t.If(coord.Unchanged(key, mod)).Then(coord.Put(key, next).Witness())
		rev, err := s.c.store.Commit(ctx, t)
		conflict, changed := errors.AsType[*coord.ConflictError](err)
		if !changed {
			if err != nil {
				return nil, err
			}
			s.c.settled(ctx, rev)
			return s.c.hostView(&next, rev), nil
		}
		kv, there := conflict.Now(key)
		if !there {
			return nil, notFound(vm.KindHost, name)
		}
		h, mod = new(vm.Host), kv.Mod
		if err := kv.Decode(h); err != nil {
			return nil, err
		}
	}
	return nil, vm.Refuse(vm.ReasonLocked, "cannot change host %s: its record kept changing; try again", name)
}

// DrainHost is not built yet.
func (s *service) DrainHost(ctx context.Context, req *conductorv1.HostVerbRequest) (*conductorv1.Host, error) {
	return nil, s.unsupported(ctx, "drain", req.GetId())
}

// unsupported refuses what is not built, of a host that exists.
func (s *service) unsupported(ctx context.Context, what, name string) error {
	if _, _, err := s.c.hostOf(ctx, name); err != nil {
		return err
	}
	return vm.Refuse(vm.ReasonUnsupported, "cannot %s host %s: this is not built yet", what, name)
}
