package clitest

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// onHost does something with a host's record, and answers with what it is then.
func (c conductor) onHost(name string, do func(*conductorv1.Host) error) (answer *conductorv1.Host, err error) {
	c.change(func() {
		for _, h := range c.hosts {
			if h.GetName() == name {
				err = do(h)
				answer = proto.CloneOf(h)
				return
			}
		}
		err = vm.Refuse(vm.ReasonNotFound, "cannot find a host %q", name)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func (c conductor) ListHosts(context.Context, *conductorv1.ListRequest) (*conductorv1.ListHostsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &conductorv1.ListHostsResponse{Revision: c.revision}
	for _, h := range c.hosts {
		r.Hosts = append(r.Hosts, proto.CloneOf(h))
	}
	return r, nil
}

func (c conductor) GetHost(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.Host, error) {
	return c.onHost(req.GetId(), func(*conductorv1.Host) error { return nil })
}

func (c conductor) EnableHost(_ context.Context, req *conductorv1.HostVerbRequest) (*conductorv1.Host, error) {
	return c.onHost(req.GetId(), func(h *conductorv1.Host) error {
		h.Admin = string(vm.HostEnabled)
		return nil
	})
}

func (c conductor) DisableHost(_ context.Context, req *conductorv1.HostVerbRequest) (*conductorv1.Host, error) {
	return c.onHost(req.GetId(), func(h *conductorv1.Host) error {
		h.Admin = string(vm.HostDisabled)
		return nil
	})
}

func (c conductor) ConfirmFencedHost(_ context.Context, req *conductorv1.ConfirmFencedRequest) (*conductorv1.Host, error) {
	return c.onHost(req.GetId(), func(h *conductorv1.Host) error {
		if req.GetReason() == "" {
			return vm.Refuse(vm.ReasonInvalidArgument, "cannot confirm that host %s is fenced without a reason", h.GetName())
		}
		if err := down(h, "confirm the fencing of"); err != nil {
			return err
		}
		h.Fenced = &conductorv1.Signature{By: "ann", Reason: req.GetReason(), At: timestamppb.New(Began)}
		return nil
	})
}

func (c conductor) DeleteHost(_ context.Context, req *conductorv1.DeleteRequest) (*conductorv1.Empty, error) {
	_, err := c.onHost(req.GetId(), func(h *conductorv1.Host) error {
		if err := down(h, "delete"); err != nil {
			return err
		}
		c.hosts = slices.DeleteFunc(slices.Clone(c.hosts), func(is *conductorv1.Host) bool { return is == h })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &conductorv1.Empty{}, nil
}

func down(h *conductorv1.Host, what string) error {
	if h.GetStatus() == "down" {
		return nil
	}
	return &vm.Refusal{
		Why: vm.ReasonInUse, Host: vm.HostName(h.GetName()), Message: "cannot " + what + " host " + h.GetName() + ": it is up",
	}
}
