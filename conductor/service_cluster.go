package conductor

import (
	"cmp"
	"context"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/fsm"
	"leasehold/internal/invariant"
	"leasehold/vm"
)

// ListLocks shows who holds what: every lock and, as kind claim, every claim. P8
func (s *service) ListLocks(ctx context.Context, req *conductorv1.ListRequest) (*conductorv1.ListLocksResponse, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	out := &conductorv1.ListLocksResponse{Revision: s.c.cache.Revision()}
	list := listing[*conductorv1.Lock]{
		items: append(s.c.lockViews(), s.c.claimViews()...), query: "locks",
		key: func(l *conductorv1.Lock) string { return l.GetKind() }, id: func(l *conductorv1.Lock) string { return l.GetId() },
	}
	var err error
	out.Locks, out.NextPageToken, err = list.page(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Conductor) lockViews() []*conductorv1.Lock {
	var out []*conductorv1.Lock
	for _, e := range c.cache.Entries(coord.Locks) {
		l, err := coord.Decoded[vm.Lock](e)
		if err != nil {
			c.log.Error("cannot read a lock", "key", e.Key, "error", err)
			continue
		}
		_, rest, _ := c.keys.Split(e.Key)
		r, _ := coord.SplitResource(rest)
		out = append(out, &conductorv1.Lock{
			Kind: string(r.Kind), Id: r.ID, Task: string(l.Task), TaskKind: c.kindOf(l.Task), Conductor: string(l.Conductor),
			Since: at(l.Since), Revision: e.Create,
		})
	}
	return out
}

func (c *Conductor) claimViews() []*conductorv1.Lock {
	var out []*conductorv1.Lock
	for _, e := range c.cache.Entries(coord.Claims) {
		claim, err := coord.Decoded[vm.Claim](e)
		if err != nil {
			c.log.Error("cannot read a claim", "key", e.Key, "error", err)
			continue
		}
		_, id, _ := c.keys.Split(e.Key)
		out = append(out, &conductorv1.Lock{
			Kind: "claim", Id: id, Task: id, TaskKind: c.kindOf(vm.TaskID(id)), Conductor: string(claim.Conductor),
			Since: at(claim.Since), Revision: e.Create,
		})
	}
	return out
}

func (c *Conductor) kindOf(id vm.TaskID) string {
	if t, _, ok := coord.Load[vm.Task](c.cache, c.keys.Task(id)); ok {
		return string(t.Kind)
	}
	return ""
}

// ListConductors lists the living conductors by name, with the claims that each holds.
func (s *service) ListConductors(ctx context.Context, req *conductorv1.ListRequest) (*conductorv1.ListConductorsResponse, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	out := &conductorv1.ListConductorsResponse{Revision: s.c.cache.Revision()}
	part, next, err := listing[vm.AliveConductor]{
		items: s.c.members.Conductors(), id: func(a vm.AliveConductor) string { return string(a.Name) }, query: "conductors",
	}.page(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	claims := map[string]int{} // by incarnation
	for _, c := range coord.All[vm.Claim](s.c.cache, coord.Claims) {
		claims[c.Incarnation]++
	}
	for _, a := range part {
		out.Conductors = append(out.Conductors, &conductorv1.ConductorInfo{
			Name: string(a.Name), Address: a.Address, Http: a.HTTP, Version: a.Version, Incarnation: a.Incarnation,
			Started: at(a.Started), Tasks: clamp(claims[a.Incarnation]), Draining: a.Draining, Self: a.Name == s.c.cfg.Name,
		})
	}
	out.NextPageToken = next
	return out, nil
}

// GetFSM returns the tables that the code runs on.
func (s *service) GetFSM(context.Context, *conductorv1.ListRequest) (*conductorv1.FSM, error) {
	out := &conductorv1.FSM{}
	for _, r := range fsm.Actions() {
		out.Actions = append(out.Actions, &conductorv1.ActionRow{
			From: string(r.From), Action: string(r.On), Via: string(r.Via), To: string(r.To), Preempts: r.Preempts, Why: r.Why,
			Mode: string(r.Mode), Host: cmp.Or(string(r.Host), "up"), ByFault: r.ByFault, Returns: r.Returns,
		})
	}
	for _, r := range fsm.Recoveries() {
		out.Recovery = append(out.Recovery, &conductorv1.RecoveryRow{
			TaskState: string(r.TaskState), Policy: string(r.Policy), Then: r.Then, Why: r.Why,
		})
	}
	for _, s := range vm.States() {
		for _, seen := range vm.PowerStates() {
			r := fsm.OnPower(s, seen)
			out.Power = append(out.Power, &conductorv1.PowerRow{
				VmState: string(s), PowerState: string(seen), Does: string(r.Does), To: string(r.To), Verb: string(r.Verb),
				Allowed: words(r.Allowed), Why: r.Why,
			})
		}
	}
	for _, r := range fsm.Restarts() {
		out.Restart = append(out.Restart, &conductorv1.RestartRow{Finding: string(r.Finding), Does: r.Does, Why: r.Why})
	}
	return out, nil
}

// Check runs the invariant checker over what etcd has now: not over the cache, which may be what is wrong.
func (s *service) Check(ctx context.Context, req *conductorv1.ListRequest) (*conductorv1.CheckResponse, error) {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	page, err := s.c.store.List(ctx, s.c.keys.Root(), "", 0, false)
	if err != nil {
		return nil, err
	}
	out := &conductorv1.CheckResponse{Revision: page.Revision}
	all := make([]invariant.Record, 0, len(page.KVs))
	for _, kv := range page.KVs {
		switch t, _, _ := s.c.keys.Split(kv.Key); t {
		case coord.Instances:
			out.Instances++
		case coord.Tasks:
			out.OpenTasks++
		default:
		}
		all = append(all, invariant.Record{Key: kv.Key[len(s.c.keys.Root()):], Value: kv.Value, Lease: kv.Lease})
	}
	for _, v := range invariant.Check(all) {
		out.Violations = append(out.Violations, &conductorv1.Violation{Promise: v.Promise, Message: v.Message})
	}
	return out, nil
}
