package locks_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/locks"
	"leasehold/vm"
)

func TestASetIsSortedAndWithoutDoubles(t *testing.T) {
	given := []vm.Resource{volume("b"), port("a"), instance("i"), volume("a"), volume("b")}
	before := slices.Clone(given)
	set, err := locks.NewSet(given...)
	require.NoError(t, err)
	require.Equal(t, locks.Set{instance("i"), port("a"), volume("a"), volume("b")}, set)
	require.Equal(t, before, given, "the caller's slice stays as it was")
}

func TestASetThatNoTransactionTakesIsRefusedWithTheLimit(t *testing.T) {
	_, err := locks.NewSet(widest(t)...)
	require.NoError(t, err, "an instance with 36 volumes and ports")
	_, err = locks.NewSet(append(widest(t), volume("one-more"))...)
	var refusal *vm.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, vm.ReasonInvalidArgument, refusal.Why)
	require.ErrorContains(t, err, "cannot lock 38 resources")
	require.ErrorContains(t, err, "at most 36 volumes and ports together")
}

// widest is an instance with all the volumes and ports that it can have.
func widest(t *testing.T) []vm.Resource {
	t.Helper()
	rs := []vm.Resource{instance("wide")}
	for i := range locks.MaxResources - 1 {
		rs = append(rs, volume(fmt.Sprintf("v%02d", i)))
	}
	require.Len(t, rs, 37)
	return rs
}

// L1.
func TestAClaimAndItsLocksAreTakenTogetherOnOneLease(t *testing.T) {
	w := newWorld(t)
	s := w.session(t, "c1")
	set := setOf(t, instance("i1"), volume("v1"), port("p1"))
	held := w.claim(t, s, "t1", set)

	kv, err := w.store.Get(t.Context(), w.keys.Claim("t1"))
	require.NoError(t, err)
	require.Equal(t, held.Fence.Revision, kv.Create, "the fence is the claim's create revision")
	require.Equal(t, s.lease, kv.Lease)
	var claim vm.Claim
	require.NoError(t, kv.Decode(&claim))
	require.Equal(t, vm.Claim{Schema: vm.Schema, Conductor: "c1", Incarnation: "of c1", Since: now}, claim)

	found := w.under(t, w.keys.Table(coord.Locks))
	require.Len(t, found, len(set))
	for _, r := range set {
		kv := found[w.keys.Lock(r)]
		require.Equal(t, []int64{held.Fence.Revision, s.lease}, []int64{kv.Create, kv.Lease}, "%s", r)
		var lock vm.Lock
		require.NoError(t, kv.Decode(&lock))
		require.Equal(t, vm.Lock{Schema: vm.Schema, Task: "t1", Conductor: "c1", Incarnation: "of c1", Since: now}, lock)
	}
}

func TestAClaimThatIsTakenGivesNoLock(t *testing.T) {
	w := newWorld(t)
	set := setOf(t, instance("i1"), volume("v1"))
	held := w.claim(t, w.session(t, "c1"), "t1", set)
	late := w.session(t, "c2")
	guard, writes := set.Claim(w.keys, late, "t1", now)
	conflict := w.refused(t, new(coord.Txn{Name: "takeover"}).If(guard).Then(w.task("t1")).Then(writes...))
	require.Equal(t, []string{w.keys.Claim("t1")}, conflict.Failed)
	for key, kv := range w.under(t, w.keys.Table(coord.Locks)) {
		require.Equal(t, held.Fence.Revision, kv.Mod, "%s was written", key)
	}
}

func TestReleaseGivesUpTheWholeClaimOrNothing(t *testing.T) {
	w := newWorld(t)
	set := setOf(t, instance("i1"), volume("v1"), port("p1"))
	held := w.claim(t, w.session(t, "c1"), "t1", set)
	other := w.claim(t, w.session(t, "c2"), "t2", setOf(t, instance("i2")))

	stale := locks.Hold(w.keys, "t1", vm.Fence{Generation: 1, Revision: other.Fence.Revision}, set, w.guard)
	_ = w.refused(t, new(coord.Txn{Name: "finish"}).If(stale.Guards()...).Then(w.task("t1")).Then(stale.Release()...))
	require.Len(t, w.under(t, w.keys.Table(coord.Locks)), len(set)+1, "a release that lost its claim releases nothing")

	w.commit(t, new(coord.Txn{Name: "finish"}).If(held.Guards()...).Then(w.task("t1")).Then(held.Release()...))
	require.NotContains(t, w.under(t, w.keys.Table(coord.Claims)), w.keys.Claim("t1"))
	left := w.under(t, w.keys.Table(coord.Locks))
	require.Len(t, left, 1)
	require.Contains(t, left, w.keys.Lock(instance("i2")), "what another task has stays")
}

// L1. Without it a successor would find the claim free while a lock still stands, or the other way round.
func TestARevokedLeaseTakesClaimAndLocksInOneRevision(t *testing.T) {
	w := newWorld(t)
	s := w.session(t, "c1")
	held := w.claim(t, s, "t1", setOf(t, instance("i1"), volume("v1"), port("p1")))
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	watch := w.client.Watch(ctx, w.keys.Root(), clientv3.WithPrefix(), clientv3.WithRev(held.Fence.Revision+1))
	w.revoke(t, s)
	var gone []string
	at := map[int64]bool{}
	for len(gone) < 4 {
		resp, ok := <-watch
		require.True(t, ok, "the watch ended after %v", gone)
		require.NoError(t, resp.Err())
		for _, ev := range resp.Events {
			require.Equal(t, clientv3.EventTypeDelete, ev.Type)
			gone, at[ev.Kv.ModRevision] = append(gone, string(ev.Kv.Key)), true
		}
	}
	require.ElementsMatch(t, []string{
		w.keys.Claim("t1"), w.keys.Lock(instance("i1")), w.keys.Lock(volume("v1")), w.keys.Lock(port("p1")),
	}, gone)
	require.Len(t, at, 1, "nobody can see a part of them")
}

// L2, P1.
func TestGuardsHoldForThisVeryClaimOnly(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, w world, s session, held locks.Held)
		failed func(w world) string // the key that the refusal names; nil: not refused
	}{
		"untouched": {change: func(t *testing.T, _ world, _ session, _ locks.Held) { t.Helper() }},
		"another lock gone": {change: func(t *testing.T, w world, _ session, _ locks.Held) {
			t.Helper()
			w.commit(t, new(coord.Txn{Name: "test"}).Then(w.task("t9"), coord.Delete(w.keys.Lock(instance("i1")))))
		}},
		"the claim deleted": {
			change: func(t *testing.T, w world, _ session, held locks.Held) {
				t.Helper()
				w.commit(t, new(coord.Txn{Name: "preempt"}).Then(w.task("t9")).Then(locks.Forget(w.keys, "t1", held.Set)...))
			},
			failed: func(w world) string { return w.keys.Claim("t1") },
		},
		"the lease expired": {
			change: func(t *testing.T, w world, s session, _ locks.Held) { t.Helper(); w.revoke(t, s) },
			failed: func(w world) string { return w.keys.Claim("t1") },
		},
		"claimed again by another": {
			change: func(t *testing.T, w world, s session, held locks.Held) {
				t.Helper()
				w.revoke(t, s)
				w.claim(t, w.session(t, "c2"), "t1", held.Set)
			},
			failed: func(w world) string { return w.keys.Claim("t1") },
		},
		"claimed again by itself": {
			change: func(t *testing.T, w world, s session, held locks.Held) {
				t.Helper()
				w.commit(t, new(coord.Txn{Name: "handback"}).If(held.Guards()...).Then(w.task("t1")).Then(held.Release()...))
				w.claim(t, s, "t1", held.Set)
			},
			failed: func(w world) string { return w.keys.Claim("t1") },
		},
		"another generation of the store": {
			change: func(t *testing.T, w world, _ session, _ locks.Held) {
				t.Helper()
				w.put(t, w.keys.Store(), vm.Store{Schema: vm.Schema, ID: "store", Generation: 2})
			},
			failed: func(w world) string { return w.keys.Store() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.session(t, "c1")
			held := w.claim(t, s, "t1", setOf(t, instance("i1"), volume("v1")))
			c.change(t, w, s, held)
			step := new(coord.Txn{Name: "step"}).If(held.Guards()...).Then(w.task("t1"))
			if c.failed == nil {
				w.commit(t, step)
				return
			}
			conflict := w.refused(t, step)
			require.Equal(t, []string{c.failed(w)}, conflict.Failed)
			require.True(t, held.Lost(conflict))
		})
	}
}

func TestAClaimIsNotLostWhenSomethingElseHasChanged(t *testing.T) {
	w := newWorld(t)
	held := w.claim(t, w.session(t, "c1"), "t1", setOf(t, instance("i1")))
	rev := w.put(t, w.keys.Instance("i1"), vm.Instance{Schema: vm.Schema, ID: "i1"})
	w.put(t, w.keys.Instance("i1"), vm.Instance{Schema: vm.Schema, ID: "i1", Name: "renamed"})
	conflict := w.refused(t, new(coord.Txn{Name: "step"}).If(held.Guards()...).
		If(coord.Unchanged(w.keys.Instance("i1"), rev)).Then(w.task("t1")))
	require.False(t, held.Lost(conflict))
}

// A delete takes the claim of the task that it preempts away and claims the locks, which still stand, for itself. When
// the old session ends after that, nothing of the delete's may end with it.
func TestATakeoverOverwritesLocksAndTheirLease(t *testing.T) {
	w := newWorld(t)
	first, second := w.session(t, "c1"), w.session(t, "c2")
	set := setOf(t, instance("i1"), volume("v1"))
	w.claim(t, first, "t1", set)

	guard, writes := set.Claim(w.keys, second, "t2", now)
	w.commit(t, new(coord.Txn{Name: "delete.admit"}).If(guard).
		Then(w.task("t2"), coord.Delete(w.keys.Claim("t1"))).Then(writes...))
	w.revoke(t, first)

	found := w.under(t, w.keys.Table(coord.Locks))
	require.Len(t, found, len(set))
	for key, kv := range found {
		var lock vm.Lock
		require.NoError(t, kv.Decode(&lock))
		require.Equal(t, []any{vm.TaskID("t2"), vm.ConductorName("c2"), second.lease}, []any{lock.Task, lock.Conductor, kv.Lease}, key)
	}
	claims := w.under(t, w.keys.Table(coord.Claims))
	require.Len(t, claims, 1)
	require.Contains(t, claims, w.keys.Claim("t2"))
}

func TestALockInTheWayRefusesAnAdmissionAndNamesItsHolder(t *testing.T) {
	w := newWorld(t)
	w.claim(t, w.session(t, "c1"), "t1", setOf(t, volume("v1")))
	set := setOf(t, instance("i1"), volume("v1"))
	conflict := w.refused(t, new(coord.Txn{Name: "admit"}).If(set.Unlocked(w.keys)...).Then(w.task("t2")))
	require.Equal(t, []string{w.keys.Lock(volume("v1"))}, conflict.Failed)
	kv, ok := conflict.Now(conflict.Failed[0])
	require.True(t, ok, "the refusal itself shows the lock: no read is needed")
	var lock vm.Lock
	require.NoError(t, kv.Decode(&lock))
	refusal := locks.LockedError("stop instance i1", volume("v1"), lock)
	require.EqualError(t, refusal, "cannot stop instance i1: volume/v1 is locked by task t1, driven by conductor c1")
	require.Equal(t, vm.ReasonLocked, refusal.Why)
	require.Equal(t, []any{vm.TaskID("t1"), "c1", now}, []any{refusal.Task, refusal.Holder, refusal.Since})
}

// The widest set goes through each transaction of a task's life, with everything that conductors put beside it.
func TestTheWidestSetFitsIntoEveryTransaction(t *testing.T) {
	w := newWorld(t)
	k := w.keys
	set := setOf(t, widest(t)...)
	in := func(task vm.TaskID) coord.Write {
		return coord.Put(k.Instance("wide"), vm.Instance{Schema: vm.Schema, ID: "wide", Task: task})
	}
	record := func(key string) coord.Write { return coord.Put(key, vm.Task{Schema: vm.Schema}) }
	closes := func(txn *coord.Txn, task vm.TaskID) {
		txn.Then(coord.Delete(k.Task(task)), coord.Delete(k.Cancel(task)), record(k.Index(instance("wide"), task)))
	}
	born := w.put(t, k.Instance("wide"), vm.Instance{Schema: vm.Schema, ID: "wide"})
	first, second := w.session(t, "c1"), w.session(t, "c2")

	guard, writes := set.Claim(k, first, "t1", now)
	admitted := w.commit(t, new(coord.Txn{Name: "stop.admit"}).
		If(w.guard, guard, coord.Unchanged(k.Instance("wide"), born), coord.Absent(k.Request("default", "key"))).
		If(set.Unlocked(k)...).
		Then(w.task("t1"), in("t1"), record(k.Request("default", "key"))).Then(writes...))

	w.revoke(t, first)
	guard, writes = set.Claim(k, second, "t1", now)
	taken := w.commit(t, new(coord.Txn{Name: "takeover"}).
		If(w.guard, guard, coord.Unchanged(k.Task("t1"), admitted), coord.Unchanged(k.Instance("wide"), admitted)).
		Then(w.task("t1")).Then(writes...))

	preempt := new(coord.Txn{Name: "delete.admit"})
	guard, writes = set.Claim(k, second, "t2", now)
	preempt.If(w.guard, guard, coord.Unchanged(k.Instance("wide"), admitted), coord.Unchanged(k.Task("t1"), taken)).
		Then(w.task("t2"), in("t2"), coord.Delete(k.Claim("t1"))).Then(writes...)
	preempt.Then(record(k.History("t1")))
	closes(preempt, "t1")
	deleting := w.commit(t, preempt)

	held := locks.Hold(k, "t2", vm.Fence{Generation: 1, Revision: deleting}, set, w.guard)
	finish := new(coord.Txn{Name: "delete.finish"}).If(held.Guards()...).
		If(coord.Unchanged(k.Task("t2"), deleting), coord.Unchanged(k.Instance("wide"), deleting), coord.Absent(k.Allocations("h1"))).
		Then(coord.Delete(k.Instance("wide")), coord.Delete(k.Observed("wide")), coord.Delete(k.Name(vm.KindInstance, "default", "wide")),
			record(k.Gone("wide")), record(k.Allocations("h1")), record(k.History("t2")).Witness()).
		Then(held.Release()...)
	closes(finish, "t2")
	w.commit(t, finish)
	require.Empty(t, w.under(t, k.Table(coord.Locks)), "P6")
	require.Empty(t, w.under(t, k.Table(coord.Claims)), "P6")
}
