package conductor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/vm"
)

// crowd is a conductor's view of a store in which every task waits for one of many volumes: task n, in order of arrival,
// for volume n modulo volumes.
func crowd(t testing.TB, volumes, tasks int) *orphans {
	t.Helper()
	etcd := coordtest.Shared(t)
	client, keys := etcd.Client(t), etcd.Keys(t)
	store := coord.NewStore(coord.Config{Client: client, Keys: keys})
	var last int64
	batch := &coord.Txn{Name: "test"}
	write := func(ws ...coord.Write) {
		batch.Then(ws...)
		if len(batch.Writes) > 100 {
			last = commit(t, store, batch)
			batch = &coord.Txn{Name: "test"}
		}
	}
	for n := range volumes {
		id := vm.VolumeID(fmt.Sprintf("v%05d", n))
		write(coord.Put(keys.Volume(id), vm.Volume{Schema: vm.Schema, ID: id}))
	}
	for n := range tasks {
		id := vm.TaskID(fmt.Sprintf("t%05d", n))
		on := []vm.Resource{{Kind: vm.KindVolume, ID: fmt.Sprintf("v%05d", n%volumes)}}
		write(coord.Put(keys.Task(id), vm.Task{Schema: vm.Schema, ID: id, Status: vm.TaskWaiting, Shared: on}))
		write(locks.Enqueue(keys, on, id, time.Now().UTC())...)
	}
	last = max(last, commit(t, store, batch))
	cache := coord.NewCache(client, keys, hclog.NewNullLogger())
	coordtest.RunCache(t, cache)
	require.NoError(t, cache.WaitRevision(t.Context(), last))
	return newOrphans(&Conductor{
		cfg: Config{Name: "c1"}, keys: keys, store: store, cache: cache, queue: locks.Queue{Cache: cache},
		members: liveness.Members{Cache: cache}, workers: newWorkers(),
	})
}

// scheduled are the tasks that will be looked at.
func (o *orphans) scheduled() []vm.TaskID {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.due))
}

func commit(t testing.TB, store *coord.Store, txn *coord.Txn) int64 {
	t.Helper()
	rev, err := store.Commit(t.Context(), txn.Then(coord.Put(store.Keys().LogRoot()+"test", struct{}{}).Witness()))
	require.NoError(t, err)
	return rev
}

// Only heads of queues are scheduled, and one look answers every change before it.
func TestALookSchedulesTheHeadsOfQueuesThatAreFree(t *testing.T) {
	o := crowd(t, 3, 7)
	taken := vm.Volume{Schema: vm.Schema, ID: "v00001", Task: "another"}
	txn := &coord.Txn{Name: "test"}
	rev := commit(t, o.c.store, txn.Then(coord.Put(o.c.keys.Volume(taken.ID), taken)))
	require.NoError(t, o.c.cache.WaitRevision(t.Context(), rev))

	o.lookAtQueues()
	require.Empty(t, o.scheduled(), "nothing has changed")
	_, _, ok := o.eligible("t00000")
	require.False(t, ok, "nobody has looked yet")

	o.changed([]coord.Change{{Table: coord.Queue}, {Table: coord.Queue}})
	require.Empty(t, o.scheduled(), "the cache's goroutine does not look")
	require.Len(t, o.wake, 1)
	o.lookAtQueues()
	require.ElementsMatch(t, []vm.TaskID{"t00000", "t00002"}, o.scheduled(), "v00001 is another task's")
	clear(o.due)
	o.lookAtQueues()
	require.Empty(t, o.scheduled(), "one look is enough")

	next := locks.Dequeue(o.c.keys, []vm.Resource{{Kind: vm.KindVolume, ID: "v00000"}}, "t00000")
	txn = &coord.Txn{Name: "test"}
	require.NoError(t, o.c.cache.WaitRevision(t.Context(), commit(t, o.c.store, txn.Then(next...))))
	_, _, ok = o.eligible("t00003")
	require.False(t, ok, "the look was before it became first")
	o.noteQueues()
	o.lookAtQueues()
	require.Contains(t, o.scheduled(), vm.TaskID("t00003"))
}

// A task that waits on is not looked at again and again, as one is that could begin if only this conductor had a session.
func TestOnlyAnEligibleTaskIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.c.orphans.grant(t.Context(), "t1")
	require.NotContains(t, b.c.orphans.scheduled(), vm.TaskID("t1"), "it runs")
	b.c.orphans.grant(t.Context(), "of nobody")
	require.NotContains(t, b.c.orphans.scheduled(), vm.TaskID("of nobody"))
}

func BenchmarkLookAtQueues(b *testing.B) {
	for _, tickets := range []int{2_000, 10_000} {
		b.Run(fmt.Sprintf("tickets=%d", tickets), func(b *testing.B) {
			o := crowd(b, 1_000, tickets)
			for b.Loop() {
				o.queues.changed.Store(true)
				o.lookAtQueues()
			}
		})
	}
}
