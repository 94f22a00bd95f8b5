package locks_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/locks"
	"leasehold/vm"
)

// soon is how long a test waits for what should take a moment.
const soon = 30 * time.Second

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type run func() int

func (r run) Run() int { return r() }

func TestMain(m *testing.M) { goleak.VerifyTestMain(run(func() int { return coordtest.Main(m) })) }

// world is one store with the record that every transaction compares.
type world struct {
	client *clientv3.Client
	keys   coord.Keys
	store  *coord.Store
	guard  coord.Guard // of the store's generation
}

func newWorld(t *testing.T) world {
	t.Helper()
	s := coordtest.Shared(t)
	w := world{client: s.Client(t), keys: s.Keys(t)}
	w.store = coord.NewStore(coord.Config{Client: w.client, Keys: w.keys})
	rev := w.put(t, w.keys.Store(), vm.Store{Schema: vm.Schema, ID: "store", Generation: 1})
	w.guard = coord.Unchanged(w.keys.Store(), rev)
	t.Cleanup(func() { coordtest.CheckLeases(cleanup{t}, w.client, w.keys) })
	return w
}

// cleanup is a test in its cleanup, when its own context has ended.
type cleanup struct{ *testing.T }

func (cleanup) Context() context.Context { return context.Background() }

// put writes one durable record, whatever is there.
func (w world) put(t *testing.T, key string, record any) int64 {
	t.Helper()
	return w.commit(t, new(coord.Txn{Name: "test"}).Then(coord.Put(key, record).Witness()))
}

func (w world) commit(t *testing.T, txn *coord.Txn) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	rev, err := w.store.Commit(ctx, txn)
	require.NoError(t, err)
	return rev
}

// refused commits a transaction whose guards do not hold.
func (w world) refused(t *testing.T, txn *coord.Txn) *coord.ConflictError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	_, err := w.store.Commit(ctx, txn)
	var conflict *coord.ConflictError
	require.ErrorAs(t, err, &conflict)
	return conflict
}

// under lists what begins with prefix, by key.
func (w world) under(t *testing.T, prefix string) map[string]coord.KV {
	t.Helper()
	page, err := w.store.List(t.Context(), prefix, "", 0, false)
	require.NoError(t, err)
	found := map[string]coord.KV{}
	for _, kv := range page.KVs {
		found[kv.Key] = kv
	}
	return found
}

// session is a conductor's lease without the conductor.
type session struct {
	name        vm.ConductorName
	lease       int64
	incarnation string
}

func (s session) Conductor() vm.ConductorName { return s.name }
func (s session) Lease() int64                { return s.lease }
func (s session) Incarnation() string         { return s.incarnation }

func (w world) session(t *testing.T, name vm.ConductorName) session {
	t.Helper()
	lease, err := w.client.Grant(t.Context(), 600)
	require.NoError(t, err)
	return session{name, int64(lease.ID), "of " + string(name)}
}

func (w world) revoke(t *testing.T, s session) {
	t.Helper()
	_, err := w.client.Revoke(t.Context(), clientv3.LeaseID(s.lease))
	require.NoError(t, err)
}

// claim takes a set for a task, as an admission does, and returns what is held then.
func (w world) claim(t *testing.T, s session, task vm.TaskID, set locks.Set) locks.Held {
	t.Helper()
	guard, writes := set.Claim(w.keys, s, task, now)
	rev := w.commit(t, new(coord.Txn{Name: "claim"}).If(guard).Then(w.task(task)).Then(writes...))
	return locks.Hold(w.keys, task, vm.Fence{Generation: 1, Revision: rev}, set, w.guard)
}

// task is the write of a task's record.
func (w world) task(id vm.TaskID) coord.Write {
	return coord.Put(w.keys.Task(id), vm.Task{Schema: vm.Schema, ID: id}).Witness()
}

// cached is a cache of the world, filled and following.
func (w world) cached(t *testing.T) *coord.Cache {
	t.Helper()
	c := coord.NewCache(w.client, w.keys, hclog.NewNullLogger())
	coordtest.RunCache(t, c)
	return c
}

func instance(id string) vm.Resource { return vm.Resource{Kind: vm.KindInstance, ID: id} }
func volume(id string) vm.Resource   { return vm.Resource{Kind: vm.KindVolume, ID: id} }
func port(id string) vm.Resource     { return vm.Resource{Kind: vm.KindPort, ID: id} }

func setOf(t *testing.T, rs ...vm.Resource) locks.Set {
	t.Helper()
	set, err := locks.NewSet(rs...)
	require.NoError(t, err)
	return set
}
