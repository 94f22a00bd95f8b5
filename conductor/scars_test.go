package conductor

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/api/compute/v1"
	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/locks"
	"leasehold/vm"
)

// P1. Symptom: the first try of a step's write got stuck on its way, the second was answered, and the task went on; now the
// first one arrives. The claim it compares is still the same.
func TestADelayedFirstTryOfAnOlderStepChangesNothing(t *testing.T) {
	b := newBench(t)
	client := coordtest.Shared(t).Client(t)
	late := coordtest.Record(client)
	b.c.store = coord.NewStore(coord.Config{Client: client, Keys: b.c.keys})
	for _, state := range []vm.TaskState{vm.PoweringOn, vm.PoweringOff} {
		b.w.work.Instance.TaskState = state
		require.NoError(t, b.w.save("step", time.Now().UTC()))
	}
	before := b.instance(t)
	require.Equal(t, []bool{false, false}, late.Arrive(t), "neither the older step nor the newer one happens again")
	require.Equal(t, before, b.instance(t))
	_, err := b.c.store.Get(t.Context(), b.c.keys.Claim("t1"))
	require.NoError(t, err, "the claim would have let it pass")
}

// keep gives the bench a session of its own accord, so that it claims; what was claimed under the first one is nobody's.
func (b *bench) keep(t *testing.T) {
	t.Helper()
	require.NoError(t, b.w.session.Close(t.Context()))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = b.c.keeper.Run(ctx) }()
	t.Cleanup(func() {
		<-b.c.workers.close()
		stop()
		<-done
	})
	require.Eventually(t, func() bool {
		_, claimed := b.c.cache.Entry(b.c.keys.Claim("t1"))
		return b.c.keeper.Current() != nil && !claimed
	}, patience, time.Millisecond)
}

const patience = 30 * time.Second

// P1. Symptom: the sweep finds a task without a claim, and drives one that waits for what another task has.
func TestTheSweepLeavesAWaitingTaskToItsGrant(t *testing.T) {
	b := newBench(t)
	b.keep(t)
	now := time.Now().UTC()
	v1 := vm.Resource{Kind: vm.KindVolume, ID: "v1"}
	volume := vm.Volume{Schema: vm.Schema, ID: "v1", MultiAttach: true, Task: "t1"}
	waits := vm.Task{
		Schema: vm.Schema, ID: "t2", Kind: vm.Stop, Status: vm.TaskWaiting, Instance: "i2", Shared: []vm.Resource{v1},
		Resources: []vm.Resource{{Kind: vm.KindInstance, ID: "i2"}}, Steps: b.w.work.Task.Steps, CreatedAt: now,
	}
	second := b.instance(t)
	second.ID, second.Task = "i2", "t2"
	b.put(t, append(locks.Enqueue(b.c.keys, waits.Shared, "t2", now),
		coord.Put(b.c.keys.Task("t2"), waits), coord.Put(b.c.keys.Instance("i2"), second), coord.Put(b.c.keys.Volume("v1"), volume))...)
	b.seen(t)

	found := func() []vm.TaskID {
		b.c.orphans.ready()
		b.c.orphans.sweep()
		ids, _ := b.c.orphans.ready()
		return ids
	}
	require.Equal(t, []vm.TaskID{"t1"}, found(), "the orphan, and not the one that waits")
	b.c.orphans.mend(t.Context(), "t2")
	require.Nil(t, b.c.workers.get("t2"))
	_, err := b.c.store.Get(t.Context(), b.c.keys.Claim("t2"))
	require.ErrorIs(t, err, coord.ErrNotFound, "also when it is looked at")

	volume.Task = ""
	b.put(t, coord.Put(b.c.keys.Volume("v1"), volume))
	b.seen(t)
	require.Contains(t, found(), vm.TaskID("t2"), "its turn has come")
	b.c.orphans.mend(t.Context(), "t2")
	ended := new(vm.Task)
	require.Eventually(t, func() bool {
		kv, err := b.c.store.Get(t.Context(), b.c.keys.History("t2"))
		return err == nil && kv.Decode(ended) == nil
	}, patience, time.Millisecond)
	require.Len(t, ended.Attempts, 1)
	require.Equal(t, whyGranted, ended.Attempts[0].Why)
}

// seen waits until the cache knows all that was put.
func (b *bench) seen(t *testing.T) {
	t.Helper()
	require.NoError(t, b.c.catchUp(t.Context()))
}

// Symptom: what was seen before comes after what was seen later, from a host that does not have the instance any more, or
// in the middle of a task; the record shows a machine that was.
func TestAnObservationCountsOnlyWhenItIsNewsFromTheOwner(t *testing.T) {
	b := newBench(t)
	idle := b.instance(t)
	idle.Task, idle.TaskState, idle.Host = "", vm.Idle, "h1"
	b.put(t, coord.Put(b.c.keys.Instance("i1"), idle), coord.Put(b.c.keys.Observed("i1"), vm.Observed{
		Schema: vm.Schema, ID: "i1", Host: "h1", PowerState: vm.PowerRunning, Epoch: 2,
		Fence: vm.Fence{Generation: 1, Revision: 10}, Sequence: 5,
	}))
	b.seen(t)
	saw := func(epoch, revision, sequence int64, power vm.PowerState) *computev1.Observation {
		return &computev1.Observation{
			InstanceId: "i1", HostEpoch: epoch, Sequence: sequence, PowerState: string(power),
			Fence: &computev1.FenceToken{Generation: 1, Revision: revision},
		}
	}
	power := func() vm.PowerState {
		kv, err := b.c.store.Get(t.Context(), b.c.keys.Observed("i1"))
		require.NoError(t, err)
		var o vm.Observed
		require.NoError(t, kv.Decode(&o))
		return o.PowerState
	}
	for _, c := range []struct {
		name  string
		host  vm.HostName
		seen  *computev1.Observation
		shows vm.PowerState
	}{
		{"an older sequence", "h1", saw(2, 10, 4, vm.PowerCrashed), vm.PowerRunning},
		{"an older fence", "h1", saw(2, 9, 6, vm.PowerCrashed), vm.PowerRunning},
		{"an older epoch", "h1", saw(1, 11, 6, vm.PowerCrashed), vm.PowerRunning},
		{"another host", "h2", saw(3, 11, 6, vm.PowerCrashed), vm.PowerRunning},
		{"a newer sequence", "h1", saw(2, 10, 6, vm.PowerCrashed), vm.PowerCrashed},
		{"a newer fence", "h1", saw(2, 11, 1, vm.PowerRunning), vm.PowerRunning},
		{"a newer epoch, whose host has lost its fences", "h1", saw(3, 0, 1, vm.PowerShutdown), vm.PowerShutdown},
	} {
		require.True(t, b.c.note(t.Context(), c.host, "i1", c.seen), c.name)
		require.Equal(t, c.shows, power(), c.name)
		b.seen(t)
	}
	idle.Task, idle.TaskState = "t1", vm.PoweringOff
	b.put(t, coord.Put(b.c.keys.Instance("i1"), idle))
	b.seen(t)
	require.False(t, b.c.note(t.Context(), "h1", "i1", saw(3, 0, 2, vm.PowerCrashed)), "it rests until the task has ended")
	require.Equal(t, vm.PowerShutdown, power())
}

// reads tells of every read of the store's own key, which is how a request catches up.
type reads struct{ caughtUp chan struct{} }

func (r reads) Committed(string, time.Duration, int, int, error) {}

func (r reads) Read(what string, _ time.Duration, _ error) {
	if what == string(coord.StoreT) {
		select {
		case r.caughtUp <- struct{}{}:
		default:
		}
	}
}

// P8. Symptom: a conductor whose cache is late does not know the instance, reads it from etcd, and refuses the verb because
// its host, which the cache does not know either, seems to be down.
func TestAnInstanceReadFromTheStoreIsNotRefusedForAHostTheCacheHasNotHeardOf(t *testing.T) {
	b := newBench(t)
	b.keep(t)
	b.c.cfg.MaxTasks = 0 // what is admitted stays queued
	lease, err := coordtest.Shared(t).Client(t).Grant(t.Context(), 60)
	require.NoError(t, err)
	r := reads{make(chan struct{}, 1)}
	b.c.store = coord.NewStore(coord.Config{Client: coordtest.Shared(t).Client(t), Keys: b.c.keys, Observe: r})

	b.c.watchers.mu.Lock() // the cache stands still behind the next cancel
	goOn := sync.OnceFunc(b.c.watchers.mu.Unlock)
	defer goOn()
	b.put(t, coord.Put(b.c.keys.Cancel("t0"), vm.Cancel{Schema: vm.Schema, Task: "t0"}))
	require.Eventually(t, func() bool { _, there := b.c.cache.Entry(b.c.keys.Cancel("t0")); return there }, patience, time.Millisecond)
	b.put(t, coord.PutLeased(b.c.keys.AliveCompute("h2"), vm.AliveCompute{Schema: vm.Schema, ID: "h2", Name: "h2"}, int64(lease.ID)))
	b.put(t, coord.Put(b.c.keys.Instance("i2"), vm.Instance{Schema: vm.Schema, ID: "i2", Name: "two", State: vm.Active, Host: "h2"}))
	refused := make(chan error, 1)
	go func() {
		_, err := b.c.Admit(t.Context(), Order{Verb: vm.Stop, Project: DefaultProject, Instance: "i2"})
		refused <- err
	}()
	select {
	case <-r.caughtUp:
	case err := <-refused:
		require.Fail(t, "refused from a late cache", "%v", err)
	}
	goOn()
	require.NoError(t, <-refused)
}
