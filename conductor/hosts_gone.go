package conductor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/liveness"
	"leasehold/tasks"
	"leasehold/vm"
)

// A host that is gone: since when, an operator's signature that it is off, and its removal with all that it owes.

// tendHosts does what somebody has to do for hosts that are down, on the one conductor whose turn it is for each.
func (c *Conductor) tendHosts(ctx context.Context, serving []vm.ConductorName) {
	if c.keeper.Current() == nil {
		return
	}
	for _, h := range records[vm.Host](c, coord.Hosts) {
		if liveness.Rank("host/"+string(h.is.Name), c.cfg.Name, serving) != 0 {
			continue
		}
		if h.is.Admin == vm.HostRemoved {
			if err := c.settleRemoved(ctx, h.is.Name); err != nil {
				c.log.Warn("cannot settle what a removed host owes, trying again", "host", h.is.Name, "error", err)
			}
			continue
		}
		if h.is.DownSince == nil && !c.hostAlive(h.is.Name) {
			c.noteDown(ctx, h)
		}
	}
}

// noteDown writes down since when a host is down, so that every conductor says the same. One that has never been active is
// about to be.
func (c *Conductor) noteDown(ctx context.Context, h rec[vm.Host]) {
	now := time.Now().UTC()
	since := c.hosts.downSince(h.is.Name)
	if since.IsZero() && now.Sub(h.is.UpdatedAt) < 2*c.cfg.HostTTL {
		return
	}
	if since.IsZero() {
		since = now
	}
	next := *h.is
	next.DownSince, next.UpdatedAt = &since, now
	key := c.keys.Host(next.Name)
	t := &coord.Txn{Name: "host.down"}
	t.If(c.generation().guard, coord.Unchanged(key, h.mod), coord.Absent(c.keys.AliveCompute(next.Name))).Then(coord.Put(key, next).Witness())
	_, err := c.store.Commit(ctx, t)
	if _, changed := errors.AsType[*coord.ConflictError](err); err != nil && !changed {
		c.log.Warn("cannot note since when a host is down", "host", next.Name, "error", err)
	}
}

// ConfirmFencedHost keeps an operator's word that a host is off. It is compared that nobody has heard of the host since.
func (s *service) ConfirmFencedHost(ctx context.Context, req *conductorv1.ConfirmFencedRequest) (*conductorv1.Host, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if req.GetReason() == "" || len(req.GetReason()) > maxMetadataValue {
		return nil, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot confirm that host %s is fenced without a reason: say how it is known, in at most %d bytes; it is kept", shown(req.GetId()), maxMetadataValue)
	}
	sign := &vm.Signature{By: who.by, Reason: req.GetReason(), At: time.Now().UTC()}
	h, rev, err := s.c.whileDown(ctx, req.GetId(), "confirm the fencing of", func(h *vm.Host) error {
		h.Fenced = sign
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.c.log.Warn("an operator signs that a host is fenced", "host", h.Name, "by", sign.By, "reason", sign.Reason)
	return s.c.hostView(h, rev), nil
}

// DeleteHost removes a host for good, and what it owes with it. It answers when the host is marked; instances that were on
// it follow, and its record goes last.
func (s *service) DeleteHost(ctx context.Context, req *conductorv1.DeleteRequest) (*conductorv1.Empty, error) {
	h, _, err := s.c.whileDown(ctx, req.GetId(), "delete", func(h *vm.Host) error {
		if owed := s.c.owedBy(h.Name); len(owed) > 0 && h.Fenced == nil {
			return &vm.Refusal{Why: vm.ReasonInUse, Host: h.Name, Message: fmt.Sprintf(
				"cannot delete host %s: it has %d instances (%s is one), which may still execute; confirm that it is fenced first",
				h.Name, len(owed), owed[0].is.ID)}
		}
		h.Admin = vm.HostRemoved
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.c.settleRemoved(ctx, h.Name); err != nil {
		s.c.log.Info("a removed host is settled later", "host", h.Name, "error", err)
	}
	return &conductorv1.Empty{}, nil
}

// whileDown changes the record of a host that is down: that it is, is compared in the transaction.
func (c *Conductor) whileDown(ctx context.Context, name, what string, change func(*vm.Host) error) (*vm.Host, int64, error) {
	if err := c.catchUp(ctx); err != nil { // what is owed is read from the cache
		return nil, 0, err
	}
	h, mod, err := c.hostOf(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	key, alive := c.keys.Host(h.Name), c.keys.AliveCompute(h.Name)
	for range admitTries {
		next := *h
		if err := change(&next); err != nil {
			return nil, 0, err
		}
		next.UpdatedAt = time.Now().UTC()
		t := &coord.Txn{Name: "host.gone"}
		t.If(c.generation().guard, coord.Unchanged(key, mod), coord.Absent(alive)).Then(coord.Put(key, next).Witness())
		rev, err := c.store.Commit(ctx, t)
		conflict, refused := errors.AsType[*coord.ConflictError](err)
		if !refused {
			if err == nil {
				c.settled(ctx, rev)
			}
			return &next, rev, err
		}
		if _, up := conflict.Now(alive); up {
			return nil, 0, &vm.Refusal{Why: vm.ReasonInUse, Host: h.Name, Message: fmt.Sprintf(
				"cannot %s host %s: it is up; stop its agent and its machines first, and wait until its lease has ended", what, h.Name)}
		}
		kv, there := conflict.Now(key)
		if !there {
			return nil, 0, notFound(vm.KindHost, name)
		}
		h, mod = new(vm.Host), kv.Mod
		if err := kv.Decode(h); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, vm.Refuse(vm.ReasonLocked, "cannot %s host %s: its record kept changing; try again", what, name)
}

// owedBy are the instances that a host has, or may hold something of, as the cache has them.
func (c *Conductor) owedBy(host vm.HostName) []rec[vm.Instance] {
	return slices.DeleteFunc(records[vm.Instance](c, coord.Instances), func(in rec[vm.Instance]) bool {
		return in.is.Host != host && !slices.Contains(in.is.Footprint, host)
	})
}

// settleRemoved takes a removed host out of everything that names it, and then its record away. An instance that a task has
// is left to that task, whose end does the same; so it is called again until nothing is left (P4, P6).
func (c *Conductor) settleRemoved(ctx context.Context, host vm.HostName) error {
	busy := false
	for _, in := range c.owedBy(host) {
		if in.is.Task != "" {
			busy = true
			continue
		}
		if err := c.loseHost(ctx, host, in); err != nil {
			return err
		}
	}
	if busy {
		return nil
	}
	key, allocations := c.keys.Host(host), c.keys.Allocations(host)
	rec, e, ok := coord.Load[vm.Host](c.cache, key)
	if !ok || rec.Admin != vm.HostRemoved {
		return nil
	}
	a, mod := c.allocations.of(host)
	if len(a.Instances) > 0 {
		return nil // whoever releases the last comes before the next look
	}
	t := &coord.Txn{Name: "host.delete"}
	t.If(c.generation().guard, coord.Unchanged(key, e.Mod), coord.Absent(c.keys.AliveCompute(host)), coord.Unchanged(allocations, mod))
	t.Then(coord.Delete(key), c.removal(vm.Resource{Kind: vm.KindHost, ID: string(host)}, caller{project: DefaultProject, by: signer(rec)}))
	if mod != 0 {
		t.Then(coord.Delete(allocations))
	}
	_, err := c.store.Commit(ctx, t)
	if conflict, refused := errors.AsType[*coord.ConflictError](err); refused {
		if kv, found := conflict.Now(allocations); slices.Contains(conflict.Failed, allocations) {
			c.allocations.learn(allocations, kv, found)
		}
		return nil // looked at again
	}
	if err == nil {
		c.allocations.learn(allocations, coord.KV{}, false)
		c.log.Warn("host removed for good", "host", host)
	}
	return err
}

func signer(h *vm.Host) string {
	if h.Fenced != nil {
		return h.Fenced.By
	}
	return ""
}

// loseHost takes a removed host out of one idle instance, and gives the room there back.
func (c *Conductor) loseHost(ctx context.Context, host vm.HostName, in rec[vm.Instance]) error {
	unlock := c.allocations.lock(host)
	defer unlock()
	next := in.is.Clone()
	tasks.LoseHost(next, host, "", time.Now().UTC())
	t := &coord.Txn{Name: "host.lost"}
	t.If(c.generation().guard, coord.Unchanged(c.keys.Instance(next.ID), in.mod)).Then(coord.Put(c.keys.Instance(next.ID), next).Witness())
	if o, e, ok := coord.Load[vm.Observed](c.cache, c.keys.Observed(next.ID)); ok && o.Host == host {
		t.If(coord.Unchanged(e.Key, e.Mod)).Then(coord.Delete(e.Key))
	}
	changed := c.release(t, host, next.ID)
	rev, err := c.store.Commit(ctx, t)
	if conflict, refused := errors.AsType[*coord.ConflictError](err); refused {
		for _, key := range conflict.Failed {
			if table, _, _ := c.keys.Split(key); table == coord.Allocations {
				kv, found := conflict.Now(key)
				c.allocations.learn(key, kv, found)
			}
		}
		return fmt.Errorf("instance %s changed: %w", next.ID, err)
	}
	if err == nil {
		c.allocations.wrote(changed, rev)
	}
	return err
}
