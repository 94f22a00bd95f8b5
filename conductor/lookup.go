package conductor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"leasehold/coord"
	"leasehold/fsm"
	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
)

// foundInstance is an instance's record, from the cache or, when fresh, from etcd.
type foundInstance struct {
	rec   *vm.Instance
	mod   int64
	fresh bool
	gone  bool // deleted: the record is the last one, from the log
}

// findInstance looks in the cache, then in etcd: a get that misses asks before it says not_found.
func (c *Conductor) findInstance(ctx context.Context, id vm.InstanceID) (*foundInstance, error) {
	if in, e, ok := coord.Load[vm.Instance](c.cache, c.keys.Instance(id)); ok {
		return &foundInstance{rec: in, mod: e.Mod}, nil
	}
	return c.readInstance(ctx, id)
}

// readInstance asks etcd, the log included: a deleted instance is found while its history is kept.
func (c *Conductor) readInstance(ctx context.Context, id vm.InstanceID) (*foundInstance, error) {
	f := &foundInstance{rec: new(vm.Instance), fresh: true}
	kv, err := c.store.Get(ctx, c.keys.Instance(id))
	if errors.Is(err, coord.ErrNotFound) {
		f.gone = true
		kv, err = c.store.Get(ctx, c.keys.Gone(id))
	}
	if errors.Is(err, coord.ErrNotFound) {
		return nil, notFound(vm.KindInstance, string(id))
	}
	if err != nil {
		return nil, err
	}
	f.mod = kv.Mod
	return f, kv.Decode(f.rec)
}

// findTask looks for an open task in the cache, for one that ended here in memory, then for both in etcd.
func (c *Conductor) findTask(ctx context.Context, id vm.TaskID) (*vm.Task, int64, error) {
	if t, e, ok := coord.Load[vm.Task](c.cache, c.keys.Task(id)); ok {
		return t, e.Mod, nil
	}
	if t, ok := c.recent.get(id); ok {
		return t.task, t.mod, nil
	}
	for _, key := range []string{c.keys.History(id), c.keys.Task(id), c.keys.History(id)} {
		kv, err := c.store.Get(ctx, key)
		if errors.Is(err, coord.ErrNotFound) {
			continue // it may move from open to closed between two reads, never back
		}
		if err != nil {
			return nil, 0, err
		}
		t := new(vm.Task)
		return t, kv.Mod, kv.Decode(t)
	}
	return nil, 0, notFound("task", string(id))
}

func notFound(kind vm.Kind, id string) *vm.Refusal {
	return vm.Refuse(vm.ReasonNotFound, "cannot find %s %q", kind, id)
}

// ResolveInstance turns what a person typed into an id: a whole id, a name in the project, or the beginning of an id (at
// least 4 characters) that is unique in the project.
func (c *Conductor) ResolveInstance(ctx context.Context, project vm.ProjectName, typed string) (vm.InstanceID, error) {
	if isID(typed) {
		return vm.InstanceID(typed), nil
	}
	if e, ok := c.cache.Entry(c.keys.Name(vm.KindInstance, project, typed)); ok {
		owner, err := coord.Decoded[nameOwner](e)
		if err != nil {
			return "", err
		}
		return vm.InstanceID(owner.ID), nil
	}
	// A name that this cache does not know yet must not be taken for part of another instance's id.
	if validName(typed) {
		kv, err := c.store.Get(ctx, c.keys.Name(vm.KindInstance, project, typed))
		if err == nil {
			var owner nameOwner
			err = kv.Decode(&owner)
			return vm.InstanceID(owner.ID), err
		}
		if !errors.Is(err, coord.ErrNotFound) {
			return "", err
		}
	}
	id, err := c.resolvePrefix(coord.Instances, vm.KindInstance, typed, project)
	if id == "" && err == nil {
		err = notFound(vm.KindInstance, typed)
	}
	return vm.InstanceID(id), err
}

const shortestPrefix = 4

// resolvePrefix finds the one record of a table whose id begins, or ends, with what was typed: UUIDv7s made together begin
// alike, so their ends are what people copy.
//
// Records of other projects do not match, and are not shown.
func (c *Conductor) resolvePrefix(t coord.Table, kind vm.Kind, typed string, projects ...vm.ProjectName) (string, error) {
	if len(typed) < shortestPrefix {
		return "", nil
	}
	var match string
	for _, e := range c.cache.Entries(t) {
		_, id, _ := c.keys.Split(e.Key)
		if !strings.HasPrefix(id, typed) && !strings.HasSuffix(id, typed) {
			continue
		}
		var owner struct {
			Project vm.ProjectName `json:"project"`
		}
		if e.Decode(&owner) != nil || !slices.Contains(projects, owner.Project) {
			continue
		}
		if match != "" {
			return "", vm.Refuse(vm.ReasonInvalidArgument, "cannot tell which %s %q is: %s and %s both match", kind, typed, match, id)
		}
		match = id
	}
	return match, nil
}

// isID says whether s has the form of a UUID.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
				return false
			}
		}
	}
	return true
}

// subject is what the rules look at, with the host's state.
func (c *Conductor) subject(in *vm.Instance) fsm.Subject {
	s := fsm.Of(*in)
	if in.Host != "" && !c.hostAlive(in.Host) {
		s.Down = &fsm.Down{Host: in.Host, Since: c.downSince(in.Host)}
	}
	return s
}

// decide is the verdict of the rules, which names as legal only what is built. P8
func (c *Conductor) decide(in *vm.Instance, verb vm.Verb, mode fsm.Mode) fsm.Verdict {
	v := fsm.Decide(c.subject(in), verb, mode)
	v.Allowed = slices.DeleteFunc(v.Allowed, func(verb vm.Verb) bool { _, built := c.kinds[verb]; return !built || c.able(in, verb) != nil })
	return v
}

func (c *Conductor) hostAlive(h vm.HostName) bool {
	_, ok := c.hosts.alive(h)
	return ok
}

// downSince is when the host's lease ended, as one conductor saw it and wrote down, or this one saw it; zero when nobody
// did.
func (c *Conductor) downSince(h vm.HostName) time.Time {
	if rec, _, ok := coord.Load[vm.Host](c.cache, c.keys.Host(h)); ok && rec.DownSince != nil {
		return *rec.DownSince
	}
	return c.hosts.downSince(h)
}

// standing is what the cache knows of a host. One without a record was taken out: records of hosts go in no other way, and a
// cache that has the task which names the host is as new as the host's record.
func (c *Conductor) standing(h vm.HostName) tasks.Standing {
	if c.hostAlive(h) {
		return tasks.Up
	}
	if rec, _, ok := coord.Load[vm.Host](c.cache, c.keys.Host(h)); !ok || rec.Admin == vm.HostRemoved {
		return tasks.Removed
	}
	return tasks.Down
}

// capacityOf is what a host offers; nothing when it is not known.
func (c *Conductor) capacityOf(h vm.HostName) vm.Size {
	if rec, _, ok := coord.Load[vm.Host](c.cache, c.keys.Host(h)); ok {
		return rec.Capacity
	}
	return vm.Size{}
}

// candidates are all hosts for the scheduler.
func (c *Conductor) candidates() []scheduler.Candidate {
	hosts := coord.All[vm.Host](c.cache, coord.Hosts)
	out := make([]scheduler.Candidate, 0, len(hosts))
	for _, h := range hosts {
		alloc, _ := c.allocations.of(h.Name)
		out = append(out, scheduler.Candidate{
			Host: *h, Alive: c.hostAlive(h.Name), DownSince: c.downSince(h.Name), Allocations: alloc,
		})
	}
	return out
}

// explainTask adds to a refusal who drives the task that is in the way, and since when. P8
func (c *Conductor) explainTask(r *vm.Refusal, in *vm.Instance) *vm.Refusal {
	if in.Task == "" {
		return r
	}
	r.Task = in.Task
	if t, _, ok := coord.Load[vm.Task](c.cache, c.keys.Task(in.Task)); ok {
		r.Since = t.CreatedAt
	}
	if claim, _, ok := coord.Load[vm.Claim](c.cache, c.keys.Claim(in.Task)); ok {
		r.Holder = string(claim.Conductor)
	}
	return r
}
