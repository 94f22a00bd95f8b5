package conductor

import (
	"context"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// service answers people: gRPC, and REST in the same process. Its methods return the errors of the house; the servers
// turn them into statuses.
type service struct {
	conductorv1.UnimplementedConductorServer
	c *Conductor
}

// caller is what the metadata of a call says of who asks.
type caller struct {
	project vm.ProjectName
	key     string // idempotency key
	by      string // address, for the record
}

// callerOf reads it. requestID is the field of the same meaning as the idempotency key, where a request has one.
func callerOf(ctx context.Context, requestID string) (caller, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	who := callerIn(http.Header{
		http.CanonicalHeaderKey(projectHeader): md.Get(projectHeader), http.CanonicalHeaderKey(keyHeader): md.Get(keyHeader),
	})
	switch {
	case requestID != "" && who.key != "" && requestID != who.key:
		return caller{}, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot use two idempotency keys for one request: request_id %s and the header %s", shown(requestID), shown(who.key))
	case requestID != "":
		who.key = requestID
	}
	if err := checkKey(who.key); err != nil {
		return caller{}, err
	}
	if err := checkProject(string(who.project)); err != nil {
		return caller{}, err
	}
	if p, ok := peer.FromContext(ctx); ok {
		who.by, _, _ = net.SplitHostPort(p.Addr.String())
	} else if via := md.Get("x-forwarded-for"); len(via) > 0 {
		who.by = via[0]
	}
	return who, nil
}

// callerIn reads it from headers.
func callerIn(h http.Header) caller {
	who := caller{project: vm.ProjectName(h.Get(projectHeader)), key: h.Get(keyHeader)}
	if who.project == "" {
		who.project = DefaultProject
	}
	return who
}

// seenWithin is how long a read waits for the cache to reach the revision that the caller has seen.
const seenWithin = 5 * time.Second

// seen waits until this conductor knows what the caller knows already, so that he reads his own writes wherever he asks.
func (c *Conductor) seen(ctx context.Context, rev int64) error {
	if rev < 0 {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot wait for revision %d: it is below zero", rev)
	}
	if rev == 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	err := c.cache.WaitRevision(wait, rev)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return over(ctx)
	}
	return vm.Refuse(vm.ReasonStoreUnavailable,
		"cannot read at revision %d: this conductor has seen %d and waited %v for more; try again or ask another one",
		rev, c.cache.Revision(), seenWithin)
}

// settled waits a moment for the cache to show an edit, so that who made it sees it here without min_revision. It is
// courtesy: the edit is made.
func (c *Conductor) settled(ctx context.Context, rev int64) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = c.cache.WaitRevision(ctx, rev)
}

// load is a record from the cache or, when the cache does not know it, from etcd.
func load[T any](ctx context.Context, c *Conductor, key string) (*T, int64, error) {
	if r, e, ok := coord.Load[T](c.cache, key); ok {
		return r, e.Mod, nil
	}
	kv, err := c.store.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	r := new(T)
	return r, kv.Mod, kv.Decode(r)
}

// instanceOf finds what a person calls an instance: an id, the beginning or end of one, or a name. One of another project
// is not found; a deleted one is, while its history is kept.
func (c *Conductor) instanceOf(ctx context.Context, project vm.ProjectName, typed string) (*foundInstance, error) {
	id, err := c.ResolveInstance(ctx, project, typed)
	if vm.ReasonOf(err) == vm.ReasonNotFound {
		if gone, gerr := c.closedID(ctx, c.keys.GoneRoot(), vm.KindInstance, typed); gone != "" || gerr != nil {
			id, err = vm.InstanceID(gone), gerr
		}
	}
	if err != nil {
		return nil, err
	}
	found, err := c.findInstance(ctx, id)
	if err != nil {
		return nil, err
	}
	if found.rec.Project != project {
		return nil, notFound(vm.KindInstance, typed)
	}
	return found, nil
}

// taskOf finds a task, open or closed, by id or the beginning of one.
func (c *Conductor) taskOf(ctx context.Context, project vm.ProjectName, typed string) (*vm.Task, int64, error) {
	id := typed
	if !isID(typed) {
		var err error
		if id, err = c.resolvePrefix(coord.Tasks, "task", typed, project); err != nil {
			return nil, 0, err
		}
		if id == "" {
			if id, err = c.closedID(ctx, c.keys.HistoryRoot(), "task", typed); err != nil {
				return nil, 0, err
			}
		}
		if id == "" {
			return nil, 0, notFound("task", typed)
		}
	}
	task, mod, err := c.findTask(ctx, vm.TaskID(id))
	if err != nil {
		return nil, 0, err
	}
	if task.Project != project {
		return nil, 0, notFound("task", typed)
	}
	return task, mod, nil
}

// closedID finds the one id in the log that begins with what was typed; empty when there is none.
func (c *Conductor) closedID(ctx context.Context, root string, kind vm.Kind, typed string) (string, error) {
	if len(typed) < shortestPrefix || !isIDStart(typed) {
		return "", nil
	}
	page, err := c.store.List(ctx, root+typed, "", 2, false)
	if err != nil || len(page.KVs) == 0 {
		return "", err
	}
	id := page.KVs[0].Key[len(root):]
	if len(page.KVs) > 1 {
		return "", vm.Refuse(vm.ReasonInvalidArgument, "cannot tell which %s %q is: %s and %s both match", kind, typed,
			id, page.KVs[1].Key[len(root):])
	}
	return id, nil
}

// isIDStart says whether a UUID may begin with s.
func isIDStart(s string) bool {
	const form = "00000000-0000-0000-0000-000000000000"
	return len(s) <= len(form) && isID(s+form[len(s):])
}
