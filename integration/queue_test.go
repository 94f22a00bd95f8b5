package integration_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"leasehold/conductor"
	"leasehold/coord"
	"leasehold/integration/cluster"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

// sharing is a kind of task that exists in tests only: it takes shared volumes and does nothing but be there. It stands in
// the place of suspend, which the action table knows and nobody has built.
type sharing struct {
	mu    sync.Mutex
	busy  map[string]vm.TaskID
	wrong []string
}

func (s *sharing) kind() tasks.Kind {
	return tasks.Kind{
		Verb: vm.Suspend,
		Flow: workflow.Flow[*tasks.Work]{Name: "sharing", Steps: []workflow.Step[*tasks.Work]{{
			Name: "share", Resume: workflow.Redo,
			Do: func(_ context.Context, w *tasks.Work, _ workflow.Beat) error { s.enter(w.Task); return nil },
		}}},
		States: map[string]vm.TaskState{"share": vm.Suspending},
		Settle: func(w *tasks.Work, _ workflow.Outcome) { s.leave(w.Task); w.Instance.State = vm.Suspended },
	}
}

func (s *sharing) enter(t *vm.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range t.Shared {
		if other, taken := s.busy[r.ID]; taken && other != t.ID {
			s.wrong = append(s.wrong, fmt.Sprintf("%s entered %s while %s was there", t.ID, r, other))
		}
		s.busy[r.ID] = t.ID
	}
}

// leave runs just before the finishing transaction: nobody can be granted before that.
func (s *sharing) leave(t *vm.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range t.Shared {
		delete(s.busy, r.ID)
	}
}

// TestAHundredWaitersKeepTheirOrder has a hundred tasks wait for two shared volumes on three conductors, two of which are
// killed on the way. Everybody is served once, in the order of arrival at each volume, without deadlock, and without a
// herd: the transactions are counted.
func TestAHundredWaitersKeepTheirOrder(t *testing.T) {
	const waiters = 100
	s := &sharing{busy: map[string]vm.TaskID{}}
	kinds := tasks.All()
	kinds[vm.Suspend] = s.kind()
	c := cluster.Start(t, cluster.Options{Conductors: 3, Computes: 2, Kinds: kinds})
	volumes := []vm.Resource{volume(t, c, "v1"), volume(t, c, "v2")}
	var instances []string
	for i := range waiters {
		instances = append(instances, c.Make(fmt.Sprintf("i%03d", i), vm.Active))
	}

	// A first task holds both volumes until everybody stands in line.
	hold := c.Hold("", "txn:suspend.finish:before", 1)
	holder := c.Make("holder", vm.Active)
	_, err := c.Conductor("c1").Replica.Admit(t.Context(), order(holder, volumes))
	require.NoError(t, err)
	hold.Await(t)

	type waiter struct {
		task     vm.TaskID
		arrived  int64
		takes    []vm.Resource
		finished *vm.Task
	}
	var line []*waiter
	wants := [][]vm.Resource{volumes, volumes[:1], volumes[1:]}
	for i, id := range instances {
		takes := wants[i%len(wants)]
		replica := c.Conductor(fmt.Sprintf("c%d", i%3+1)).Replica
		admitted, err := replica.Admit(t.Context(), order(id, takes))
		require.NoError(t, err)
		require.Equal(t, vm.TaskWaiting, admitted.Task.Status)
		require.NotNil(t, admitted.Task.Waiting, "a wait says what for")
		line = append(line, &waiter{task: admitted.Task.ID, arrived: admitted.Revision, takes: takes})
	}

	before := c.Etcd.RaftIndex()
	hold.Thaw()
	for i, w := range line {
		w.finished = c.AwaitTask(string(w.task))
		switch i {
		case waiters / 4:
			c.Conductor("c1").Kill()
		case waiters / 2:
			c.Conductor("c2").Kill()
		}
	}
	written := c.Etcd.RaftIndex() - before
	c.AwaitQuiet()

	s.mu.Lock()
	require.Empty(t, s.wrong, "P1: two tasks had one volume")
	s.mu.Unlock()
	for _, v := range volumes {
		var grants []int64
		for _, w := range line {
			if slices.Contains(w.takes, v) {
				grants = append(grants, w.finished.Attempts[0].Fence.Revision)
			}
		}
		require.True(t, slices.IsSorted(grants), "%s was granted in another order than its tickets: %v", v, grants)
	}
	for _, w := range line {
		require.Equal(t, vm.TaskSucceeded, w.finished.Status)
	}
	// Each waiter costs a grant and a finish. What is more: the holder's finish, takeovers, refused grants of a conductor
	// whose turn it was not, sessions that ended. A herd would cost a refused transaction for each waiter and each release.
	t.Logf("%d waiters took %d transactions", waiters, written)
	require.Less(t, written, uint64(3*waiters))
}

func order(instance string, shared []vm.Resource) conductor.Order {
	return conductor.Order{
		Verb: vm.Suspend, Project: conductor.DefaultProject, Instance: vm.InstanceID(instance), Shared: shared,
		Key: uuid.NewString(),
	}
}

// volume puts the record of a volume that several instances may share.
func volume(t *testing.T, c *cluster.Cluster, id string) vm.Resource {
	t.Helper()
	now := time.Now().UTC()
	txn := &coord.Txn{Name: "test"}
	txn.Then(coord.Put(c.Keys.Volume(vm.VolumeID(id)), vm.Volume{
		Schema: vm.Schema, ID: vm.VolumeID(id), Name: id, Project: conductor.DefaultProject, SizeGiB: 1, MultiAttach: true,
		CreatedAt: now, UpdatedAt: now,
	}).Witness())
	_, err := c.Store.Commit(t.Context(), txn)
	require.NoError(t, err)
	return vm.Resource{Kind: vm.KindVolume, ID: id}
}
