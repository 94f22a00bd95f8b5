package locks_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/locks"
	"leasehold/vm"
)

// enqueue has a task wait for a set and returns the revision of that.
func (w world) enqueue(t *testing.T, task vm.TaskID, set locks.Set) int64 {
	t.Helper()
	return w.commit(t, new(coord.Txn{Name: "admit"}).If(coord.Absent(w.keys.Task(task))).
		Then(w.task(task)).Then(locks.Enqueue(w.keys, set, task, now)...))
}

func (w world) dequeue(t *testing.T, task vm.TaskID, set locks.Set) int64 {
	t.Helper()
	return w.commit(t, new(coord.Txn{Name: "cancel"}).Then(w.task(task)).Then(locks.Dequeue(w.keys, set, task)...))
}

// queue is the queues as a cache shows them that is as new as rev.
func (w world) queue(t *testing.T, rev int64) locks.Queue {
	t.Helper()
	c := w.cached(t)
	require.NoError(t, c.WaitRevision(t.Context(), rev))
	return locks.Queue{Cache: c}
}

func tasksOf(line []locks.Place) []vm.TaskID {
	var ids []vm.TaskID
	for _, p := range line {
		ids = append(ids, p.Task)
	}
	return ids
}

// L3.
func TestAllTicketsOfATaskHaveOneRevision(t *testing.T) {
	w := newWorld(t)
	set := setOf(t, volume("v1"), volume("v2"), volume("v3"))
	rev := w.enqueue(t, "t1", set)
	found := w.under(t, w.keys.Table(coord.Queue))
	require.Len(t, found, len(set))
	for _, r := range set {
		kv := found[w.keys.Ticket(r, "t1")]
		require.Equal(t, rev, kv.Create, "%s", r)
		require.Zero(t, kv.Lease, "a ticket outlives the conductor that wrote it")
	}
}

func TestALineStandsInOrderOfArrival(t *testing.T) {
	w := newWorld(t)
	v1, v2, v10 := volume("v1"), volume("v2"), volume("v10")
	// Ids are in the opposite order of arrival: they decide nothing.
	r3 := w.enqueue(t, "t3", setOf(t, v1))
	w.enqueue(t, "t2", setOf(t, v1, v2))
	last := w.enqueue(t, "t1", setOf(t, v10, v2))
	q := w.queue(t, last)

	require.Equal(t, []vm.TaskID{"t3", "t2"}, tasksOf(q.Line(w.keys, v1)), "v10 is another queue")
	require.Equal(t, []vm.TaskID{"t2", "t1"}, tasksOf(q.Line(w.keys, v2)))
	require.Empty(t, q.Line(w.keys, volume("v")))
	require.Equal(t, locks.Place{Task: "t3", Revision: r3, Since: now}, q.Line(w.keys, v1)[0])
	require.Equal(t, []vm.TaskID{"t1", "t2", "t3"}, q.Heads(w.keys).Tasks(), "each is first somewhere")
	require.Equal(t, locks.Heads{v1: "t3", v2: "t2", v10: "t1"}, q.Heads(w.keys))

	before, ok := q.Ahead(w.keys, v1, "t2")
	require.False(t, ok)
	require.Equal(t, vm.TaskID("t3"), before.Task)
	_, ok = q.Ahead(w.keys, v2, "t2")
	require.True(t, ok)
	_, ok = q.Ahead(w.keys, volume("v9"), "t2")
	require.True(t, ok, "nobody waits there")
}

func TestWhoLeavesTheLineLetsTheNextOneUp(t *testing.T) {
	w := newWorld(t)
	both := setOf(t, volume("v1"), volume("v2"))
	w.enqueue(t, "t1", both)
	w.enqueue(t, "t2", both)
	last := w.enqueue(t, "t3", both)
	q := w.queue(t, last)
	require.Equal(t, []vm.TaskID{"t1"}, q.Heads(w.keys).Tasks(), "only who could begin is looked at")
	require.NoError(t, q.Cache.WaitRevision(t.Context(), w.dequeue(t, "t1", both)))
	require.Equal(t, []vm.TaskID{"t2"}, q.Heads(w.keys).Tasks())
	for _, r := range both {
		require.Equal(t, []vm.TaskID{"t2", "t3"}, tasksOf(q.Line(w.keys, r)), "%s", r)
	}
}

// A look that is late refuses who came since; it never lets anybody past.
func TestWhoWasFirstAtALateLookIsStillFirst(t *testing.T) {
	w := newWorld(t)
	v1, v2, v3 := volume("v1"), volume("v2"), volume("v3")
	w.enqueue(t, "t2", setOf(t, v1, v2))
	q := w.queue(t, w.enqueue(t, "t1", setOf(t, v2, v3)))
	heads := q.Heads(w.keys)
	require.True(t, heads.First(setOf(t, v1, v2), "t2"))
	require.False(t, heads.First(setOf(t, v2, v3), "t1"), "first in one queue is not enough")

	w.enqueue(t, "t0", setOf(t, v1))
	require.NoError(t, q.Cache.WaitRevision(t.Context(), w.enqueue(t, "t4", setOf(t, volume("v4")))))
	require.True(t, q.Heads(w.keys).First(setOf(t, v1, v2), "t2"), "who comes later changes nothing")
	require.False(t, heads.First(setOf(t, volume("v4")), "t4"), "the look was before he came")
	require.NoError(t, q.Cache.WaitRevision(t.Context(), w.dequeue(t, "t2", setOf(t, v1, v2))))
	require.False(t, heads.First(setOf(t, v2, v3), "t1"))
	require.True(t, q.Heads(w.keys).First(setOf(t, v2, v3), "t1"))
}

// L3: no two tasks can ever wait for each other, whatever sets they want.
func TestTwoTasksStandInTheSameOrderInEveryQueue(t *testing.T) {
	w := newWorld(t)
	var rs []vm.Resource
	for i := range 6 {
		rs = append(rs, volume(fmt.Sprintf("v%d", i)))
	}
	var last int64
	var arrived []vm.TaskID
	for i := range 40 {
		rand.Shuffle(len(rs), func(a, b int) { rs[a], rs[b] = rs[b], rs[a] })
		id := vm.TaskID(fmt.Sprintf("t%02d-%04x", rand.N(100), i))
		arrived = append(arrived, id)
		last = w.enqueue(t, id, setOf(t, rs[:1+rand.N(len(rs))]...))
	}
	q := w.queue(t, last)
	for _, r := range rs {
		line := tasksOf(q.Line(w.keys, r))
		inOrder := slices.DeleteFunc(slices.Clone(arrived), func(id vm.TaskID) bool { return !slices.Contains(line, id) })
		require.Equal(t, inOrder, line, "%s", r)
	}
	require.Contains(t, q.Heads(w.keys).Tasks(), arrived[0], "who came first is first everywhere")
}

// No barging: what is free is not given to a newcomer while somebody waits for it.
func TestAFastAdmissionIsRefusedWhileSomebodyWaits(t *testing.T) {
	w := newWorld(t)
	both := setOf(t, volume("v1"), volume("v2"))
	fast := func(task vm.TaskID) *coord.Txn {
		return new(coord.Txn{Name: "admit"}).If(locks.Unqueued(w.keys, both)...).Then(w.task(task))
	}
	w.enqueue(t, "t10", setOf(t, volume("v10")))
	w.commit(t, fast("t1"))
	w.enqueue(t, "t2", setOf(t, volume("v2")))
	conflict := w.refused(t, fast("t3"))
	require.Equal(t, []string{w.keys.QueueOf(volume("v2"))}, conflict.Failed)
	waits, ok := conflict.Now(conflict.Failed[0])
	require.True(t, ok)
	require.Equal(t, w.keys.Ticket(volume("v2"), "t2"), waits.Key, "the refusal shows who waits")
	w.dequeue(t, "t2", setOf(t, volume("v2")))
	w.commit(t, fast("t3"))
}

func TestATicketsKeyIsTakenApartAsItWasPutTogether(t *testing.T) {
	w := newWorld(t)
	_, rest, ok := w.keys.Split(w.keys.Ticket(volume("v1"), "t1"))
	require.True(t, ok)
	r, task := locks.SplitTicket(rest)
	require.Equal(t, volume("v1"), r)
	require.Equal(t, vm.TaskID("t1"), task)
}
