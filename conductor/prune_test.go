package conductor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/vm"
)

// closed writes tasks from to to, every tenth a delete, that ended at a time, each with its index, request and audit
// record.
func (b *bench) closed(t *testing.T, from, to int, ended time.Time) {
	t.Helper()
	for n := from; n < to; n++ {
		task := vm.Task{
			Schema: vm.Schema, ID: vm.TaskID(fmt.Sprintf("closed-%04d", n)), Kind: vm.Stop, Status: vm.TaskSucceeded,
			Instance: vm.InstanceID(fmt.Sprintf("gone-%04d", n)), EndedAt: &ended,
		}
		ws := []coord.Write{}
		if n%10 == 0 {
			task.Kind = vm.Delete
			ws = append(ws, coord.Put(b.c.keys.Gone(task.Instance), vm.Instance{Schema: vm.Schema, ID: task.Instance}))
		}
		r := vm.Resource{Kind: vm.KindImage, ID: string(task.ID)}
		b.put(t, append(ws, coord.Put(b.c.keys.History(task.ID), task),
			coord.Put(b.c.keys.Index(vm.Resource{Kind: vm.KindInstance, ID: string(task.Instance)}, task.ID), task.ID),
			coord.Put(b.c.keys.Request(DefaultProject, string(task.ID)), vm.Request{Schema: vm.Schema, Task: task.ID, At: ended}),
			coord.Put(b.c.keys.Audit(r), removed{Schema: vm.Schema, Resource: r, At: ended}))...)
	}
}

// kept is how many keys are left of each part of the log.
func (b *bench) kept(t *testing.T) map[string]int {
	t.Helper()
	kept := map[string]int{}
	for _, part := range []string{"history/", "index/", "gone/", "requests/", "audit/"} {
		n, err := b.c.store.Count(t.Context(), b.c.keys.LogRoot()+part)
		require.NoError(t, err)
		kept[part] = int(n)
	}
	return kept
}

func TestPruneRemovesWhatIsOldWithAllThatHangsOnIt(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	b.closed(t, 0, 205, now.Add(-keepHistory-time.Hour))
	b.closed(t, 205, 300, now.Add(-keepRequest-time.Hour))
	b.closed(t, 300, 320, now)
	open := vm.Request{Schema: vm.Schema, Task: "t1", At: now.Add(-keepHistory)}
	b.put(t, coord.Put(b.c.keys.Request(DefaultProject, "a long task"), open))
	long := now.Add(-keepHistory - time.Hour)
	b.put(t, coord.Put(b.c.keys.History("closed-0000-failed"), vm.Task{
		Schema: vm.Schema, ID: "closed-0000-failed", Kind: vm.Delete, Status: vm.TaskFailed, Instance: "gone-0210", EndedAt: &long,
	}))

	n, err := b.c.Prune(t.Context(), now)
	require.NoError(t, err)
	require.Equal(t, 206, n)
	require.Equal(t, map[string]int{"history/": 115, "index/": 115, "gone/": 11, "requests/": 21, "audit/": 115}, b.kept(t))
	_, err = b.c.store.Get(t.Context(), b.c.keys.Gone("gone-0210"))
	require.NoError(t, err, "the delete that failed is forgotten, the one that succeeded is not")
	_, err = b.c.store.Get(t.Context(), b.c.keys.History("closed-0204"))
	require.ErrorIs(t, err, coord.ErrNotFound)
	_, err = b.c.store.Get(t.Context(), b.c.keys.History("closed-0205"))
	require.NoError(t, err)
	_, err = b.c.store.Get(t.Context(), b.c.keys.Request(DefaultProject, "a long task"))
	require.NoError(t, err, "its task is open: the same key must not begin a second one")

	n, err = b.c.Prune(t.Context(), now)
	require.NoError(t, err)
	require.Zero(t, n, "once is enough")
}

func TestPruneKeepsTheNewestOfTooMany(t *testing.T) {
	b := newBench(t)
	b.closed(t, 0, 100, time.Now())
	n, err := b.c.pruneHistory(t.Context(), time.Now(), 35)
	require.NoError(t, err)
	require.Equal(t, 65, n)
	page, err := b.c.store.List(t.Context(), b.c.keys.HistoryRoot(), "", 0, false)
	require.NoError(t, err)
	require.Len(t, page.KVs, 35)
	require.Equal(t, b.c.keys.History("closed-0065"), page.KVs[0].Key)
}

// A key that was given again between the look and the removal is another request's now.
func TestPruneLeavesWhatHasChangedMeanwhile(t *testing.T) {
	b := newBench(t)
	b.closed(t, 0, 40, time.Now())
	again := b.c.keys.Request(DefaultProject, "closed-0003")
	n, err := b.c.pruneUnder(t.Context(), b.c.keys.RequestRoot(), func(kv coord.KV) ([]coord.Write, bool, error) {
		if kv.Key == again {
			b.put(t, coord.Put(again, vm.Request{Schema: vm.Schema, Task: "t1"}))
		}
		return []coord.Write{coord.Delete(kv.Key)}, true, nil
	})
	require.NoError(t, err)
	require.Equal(t, 10, n, "of the batch nothing is removed; the next batch is")
	kv, err := b.c.store.Get(t.Context(), again)
	require.NoError(t, err)
	var r vm.Request
	require.NoError(t, kv.Decode(&r))
	require.Equal(t, vm.TaskID("t1"), r.Task)
}
