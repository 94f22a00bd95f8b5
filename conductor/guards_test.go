package conductor

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/tasks"
	"leasehold/vm"
)

// run is a goleak.TestingM for a function.
type run func() int

func (r run) Run() int { return r() }

func TestMain(m *testing.M) { goleak.VerifyTestMain(run(func() int { return coordtest.Main(m) })) }

// bench is a conductor without its loops, and one worker whose records are in etcd: for the guards of single writes.
type bench struct {
	c *Conductor
	w *worker
}

func newBench(t *testing.T) *bench {
	t.Helper()
	etcd := coordtest.Shared(t)
	keys := etcd.Keys(t)
	listener := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	c, err := New(Config{
		Name: "c1", Endpoints: []string{etcd.Endpoint}, Prefix: keys.Prefix(), GRPC: listener(), HTTP: listener(),
		Log: hclog.NewNullLogger(),
	})
	require.NoError(t, err)
	coordtest.RunCache(t, c.cache)
	require.NoError(t, c.seed(t.Context()))
	session, err := liveness.Open(t.Context(), liveness.SessionConfig{
		Client: etcd.Client(t), Store: c.store, Name: "c1", Address: c.cfg.GRPC.Addr().String(), TTL: time.Minute,
	})
	require.NoError(t, err)

	now := time.Now().UTC()
	in := &vm.Instance{
		Schema: vm.Schema, ID: "i1", Name: "one", Project: DefaultProject, State: vm.Active, Task: "t1",
		TaskState: vm.PoweringOff, Metadata: map[string]string{}, CreatedAt: now, Since: now,
	}
	task := &vm.Task{
		Schema: vm.Schema, ID: "t1", Kind: vm.Stop, Status: vm.TaskRunning, Instance: "i1", CreatedAt: now,
		Resources: []vm.Resource{{Kind: vm.KindInstance, ID: "i1"}},
		Attempts:  []vm.Attempt{{Conductor: "c1", Since: now, Why: whyAdmitted}},
	}
	set := locks.Set(task.Resources)
	txn := &coord.Txn{Name: "test"}
	_, writes := set.Claim(keys, session, task.ID, now)
	txn.Then(coord.Put(keys.Task(task.ID), task).Witness(), coord.Put(keys.Instance(in.ID), in)).Then(writes...)
	rev, err := c.store.Commit(t.Context(), txn)
	require.NoError(t, err)
	require.NoError(t, c.cache.WaitRevision(t.Context(), rev))

	g := c.generation()
	w := &worker{
		c: c, log: c.log, kind: c.kinds[vm.Stop], session: session, taskMod: rev, instMod: rev,
		held: locks.Hold(keys, task.ID, vm.Fence{Generation: g.Generation, Revision: rev}, set, g.guard),
	}
	w.ctx, w.stop = context.WithCancelCause(t.Context())
	w.work = &tasks.Work{World: w, Task: task, Instance: in}
	w.keep()
	t.Cleanup(func() {
		w.stop(nil)
		_ = session.Close(context.WithoutCancel(t.Context()))
		_ = c.close()
	})
	return &bench{c, w}
}

// put writes one record behind the worker's back.
func (b *bench) put(t *testing.T, ws ...coord.Write) {
	t.Helper()
	txn := &coord.Txn{Name: "test"}
	txn.Then(ws...).Then(coord.Put(b.c.keys.LogRoot()+"test", struct{}{}).Witness())
	_, err := b.c.store.Commit(t.Context(), txn)
	require.NoError(t, err)
}

func (b *bench) instance(t *testing.T) *vm.Instance {
	t.Helper()
	kv, err := b.c.store.Get(t.Context(), b.c.keys.Instance("i1"))
	require.NoError(t, err)
	in := new(vm.Instance)
	require.NoError(t, kv.Decode(in))
	return in
}

// P1. Symptom: a conductor whose lease has expired, and that does not know it yet, goes on writing for its task.
func TestAWriteWithoutItsClaimIsRefused(t *testing.T) {
	b := newBench(t)
	b.put(t, coord.Delete(b.c.keys.Claim("t1")))
	b.w.work.Instance.TaskState = vm.PoweringOn
	require.ErrorIs(t, b.w.save("step", time.Now().UTC()), errLost)
	require.Equal(t, vm.PoweringOff, b.instance(t).TaskState, "nothing was written")
}

// P1. Symptom: a step's write, tried again late, rolls the record back to what it was at the first try.
func TestAWriteOverAChangedRecordKeepsTheChange(t *testing.T) {
	b := newBench(t)
	renamed := b.instance(t)
	renamed.Name = "two"
	b.put(t, coord.Put(b.c.keys.Instance("i1"), renamed))
	require.NoError(t, b.w.save("step", time.Now().UTC()))
	require.Equal(t, "two", b.instance(t).Name, "what a user changed meanwhile is kept")

	taken := b.instance(t)
	taken.Task = "t2"
	b.put(t, coord.Put(b.c.keys.Instance("i1"), taken))
	require.ErrorIs(t, b.w.save("step", time.Now().UTC()), errLost, "the instance is another task's now")
	require.Equal(t, vm.TaskID("t2"), b.instance(t).Task)
}

// P1. Symptom: after an operator restored the store, a conductor finishes what it decided on the one before.
func TestAWriteIntoAReplacedStoreIsRefused(t *testing.T) {
	b := newBench(t)
	b.put(t, coord.Put(b.c.keys.Store(), vm.Store{Schema: vm.Schema, ID: "store", Generation: 2}))
	require.ErrorIs(t, b.w.save("step", time.Now().UTC()), errLost)
}

// P1. Symptom: a takeover claims a task whose instance a delete has taken meanwhile, in the moment that the cache is late.
func TestATakeoverComparesTheReservation(t *testing.T) {
	b := newBench(t)
	task := b.w.work.Task
	txn := &coord.Txn{Name: "takeover"}
	_, _, ok := b.c.reserved(txn, task)
	require.True(t, ok)
	taken := b.instance(t)
	taken.Task = "t2"
	b.put(t, coord.Put(b.c.keys.Instance("i1"), taken))
	txn.Then(coord.Put(b.c.keys.Task(task.ID), task).Witness())
	_, err := b.c.store.Commit(t.Context(), txn)
	var conflict *coord.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, []string{b.c.keys.Instance("i1")}, conflict.Failed)
}
