package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/integration/cluster"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// host is what conductors see of an agent, without the agent: the test decides what arrives when.
type host struct {
	t   *testing.T
	c   *cluster.Cluster
	dir string // its data directory
}

func (h host) register(via string, machines ...*conductorv1.FoundMachine) (*conductorv1.RegisterResponse, error) {
	resp, err := h.c.Agents(via).Register(h.t.Context(), &conductorv1.RegisterRequest{
		Host: "h1", DataDirId: h.dir, BootId: "boot", Address: "127.0.0.1:1", Driver: "sim",
		Vcpus: 4, MemoryMib: 4096, DiskGib: 40, Machines: machines,
	})
	return resp, rpc.FromStatus(err)
}

func (h host) registered(via string) *conductorv1.RegisterResponse {
	h.t.Helper()
	r, err := h.register(via)
	require.NoError(h.t, err)
	return r
}

func (h host) activate(via string, r *conductorv1.RegisterResponse) error {
	_, err := h.c.Agents(via).Activate(h.t.Context(), &conductorv1.ActivateRequest{
		Host: "h1", Epoch: r.GetEpoch(), Lease: r.GetLease(), DataDirId: h.dir, Address: "127.0.0.1:1",
	})
	return rpc.FromStatus(err)
}

func (h host) beat(via string, r *conductorv1.RegisterResponse) error {
	_, err := h.c.Agents(via).Heartbeat(h.t.Context(), &conductorv1.HeartbeatRequest{Host: "h1", Epoch: r.GetEpoch(), Lease: r.GetLease()})
	return rpc.FromStatus(err)
}

// refused says that the host is told to register again.
func refused(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, vm.ReasonNotFound, vm.ReasonOf(err), "%v", err)
}

// lease is what the alive key hangs on.
func (h host) lease() int64 {
	h.t.Helper()
	kv, err := h.c.Store.Get(h.t.Context(), h.c.Keys.AliveCompute("h1"))
	require.NoError(h.t, err)
	return kv.Lease
}

// Symptom: a host registers twice; heartbeats renew the lease that its alive key does not hang on, and are answered; the
// host is down while it believes that it is up.
func TestAHostHangsOnItsNewestRegistrationOnly(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, HostTTL: time.Minute})
	h := host{t, c, "one"}
	first := h.registered("c1")
	require.Nil(t, c.AliveCompute("h1"), "a host is schedulable when it is activated, not before")
	refused(t, h.beat("c1", first))
	require.NoError(t, h.activate("c2", first))
	for _, via := range []string{"c1", "c2"} {
		require.NoError(t, h.beat(via, first), "any conductor renews what any granted")
	}

	second := h.registered("c2")
	require.Equal(t, first.GetEpoch(), second.GetEpoch(), "it lost neither its directory nor its guests")
	require.NotEqual(t, first.GetLease(), second.GetLease())
	require.NoError(t, h.activate("c2", second))
	for _, via := range []string{"c2", "c1"} {
		require.NoError(t, h.beat(via, second))
	}
	c.Await("c1 has heard of it", func() bool { return h.beat("c1", first) != nil })
	for _, via := range []string{"c1", "c2"} {
		refused(t, h.beat(via, first))
	}

	// The first activation, sent again by somebody or something on the way, arrives now.
	refused(t, h.activate("c1", first))
	require.Equal(t, second.GetLease(), h.lease())
	require.NoError(t, h.beat("c1", second))

	// It may also arrive between the second registration and its activation.
	third := h.registered("c1")
	refused(t, h.activate("c2", second))
	require.NoError(t, h.activate("c1", third))
	require.Equal(t, third.GetLease(), h.lease())
	require.NoError(t, h.activate("c2", third), "the newest may be activated twice: its first answer was lost")
	require.NoError(t, h.beat("c2", third))
}

// Symptom: a data directory that has lost its fences and tombstones acts under the name of the one that has them.
func TestADataDirectoryIsPartOfTheName(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, HostTTL: time.Minute})
	one, two := host{t, c, "one"}, host{t, c, "two"}
	first := one.registered("c1")
	require.NoError(t, one.activate("c1", first))
	_, err := two.register("c2")
	require.Equal(t, vm.ReasonAlreadyExists, vm.ReasonOf(err), "%v", err)
	require.NoError(t, one.beat("c2", first), "the living one is not disturbed")

	_, err = c.Etcd.Client(t).Revoke(t.Context(), clientv3.LeaseID(first.GetLease())) // as if it had expired
	require.NoError(t, err)
	second := two.registered("c2")
	require.Greater(t, second.GetEpoch(), first.GetEpoch())
	refused(t, one.beat("c1", first))
	refused(t, one.activate("c1", first))

	// Both want the name and neither lives: the last to register has it.
	third := one.registered("c1")
	require.Greater(t, third.GetEpoch(), second.GetEpoch())
	refused(t, two.activate("c2", second))
	require.NoError(t, one.activate("c1", third))
	_, err = two.register("c1")
	require.Equal(t, vm.ReasonAlreadyExists, vm.ReasonOf(err), "%v", err)
	require.Equal(t, third.GetEpoch(), c.AliveCompute("h1").Epoch)
}

// P2, P5. Symptom: a host that comes back destroys what only seems not to be its own, or keeps what is executed elsewhere by
// now. All this is decided before the host is schedulable.
func TestAMachineIsDestroyedOnlyOnEvidence(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 1, HostTTL: time.Minute})
	generation := int64(1)
	fence := func(revision int64) vm.Fence { return vm.Fence{Generation: generation, Revision: revision} }
	const here = 50 // the fence that the machine was last commanded under
	seen := func(host vm.HostName, f vm.Fence) *vm.Observed {
		return &vm.Observed{Schema: vm.Schema, Host: host, PowerState: vm.PowerRunning, Fence: f}
	}
	on := func(host vm.HostName, footprint ...vm.HostName) *vm.Instance {
		return &vm.Instance{Schema: vm.Schema, Name: "x", State: vm.Active, Host: host, Footprint: footprint}
	}
	type found struct{ tombstone, unknown bool }
	cases := []struct {
		name    string
		machine found // what the host says of it
		record  *vm.Instance
		deleted *vm.Instance
		seen    *vm.Observed
		hosts   []vm.HostName // of an open task
		verdict string
		buries  bool
		under   int64 // revision of the fence to destroy it under; 0 when it does not matter
	}{
		{name: "nobody knows it", verdict: "quarantine"},
		{name: "the driver cannot read it", machine: found{unknown: true}, record: on("h2"), seen: seen("h2", fence(99)), verdict: "quarantine"},
		{name: "the host has buried it", machine: found{tombstone: true}, verdict: "destroy", buries: true},
		{name: "its delete is on record", deleted: on("h1"), verdict: "destroy", buries: true},
		{name: "its record names this host", record: on("h1", "h1"), verdict: "keep"},
		{name: "its record names this host among others", record: on("h2", "h1", "h2"), seen: seen("h2", fence(99)), verdict: "keep"},
		{name: "an open task works on it here", record: on("h2", "h2"), seen: seen("h2", fence(99)), hosts: []vm.HostName{"h1", "h2"}, verdict: "keep"},
		{name: "an open task works on it elsewhere", record: on("h2", "h2"), seen: seen("h2", fence(99)), hosts: []vm.HostName{"h2"}, verdict: "destroy", under: 99},
		{name: "its record names a host that was never seen with it", record: on("h2", "h2"), verdict: "quarantine"},
		{name: "it was seen there under an older fence", record: on("h2", "h2"), seen: seen("h2", fence(here-1)), verdict: "quarantine"},
		{name: "it was seen there under the same fence", record: on("h2", "h2"), seen: seen("h2", fence(here)), verdict: "quarantine"},
		{name: "it was seen there under a newer fence", record: on("h2", "h2"), seen: seen("h2", fence(here+1)), verdict: "destroy", under: here + 1},
		{name: "it was seen on a third host", record: on("h2", "h2"), seen: seen("h3", fence(99)), verdict: "quarantine"},
		{
			name: "its fence is of a store that is no more", record: on("h2", "h2"),
			seen: seen("h2", vm.Fence{Generation: generation + 1, Revision: 1}), verdict: "destroy", under: 1,
		},
	}
	txn := &coord.Txn{Name: "test"}
	machines := make([]*conductorv1.FoundMachine, len(cases))
	for i, k := range cases {
		id := vm.InstanceID(uuid.NewString())
		if rec := k.record; rec != nil {
			rec.ID = id
			if k.hosts != nil {
				rec.Task, rec.TaskState = vm.TaskID(fmt.Sprintf("t%d", i)), vm.Pausing
				// It waits, so that nobody drives it.
				txn.Then(coord.Put(c.Keys.Task(rec.Task), vm.Task{
					Schema: vm.Schema, ID: rec.Task, Kind: vm.Pause, Status: vm.TaskWaiting, Instance: id, Hosts: k.hosts,
				}))
			}
			txn.Then(coord.Put(c.Keys.Instance(id), rec))
		}
		if k.deleted != nil {
			txn.Then(coord.Put(c.Keys.Gone(id), k.deleted))
		}
		if k.seen != nil {
			k.seen.ID = id
			txn.Then(coord.Put(c.Keys.Observed(id), k.seen))
		}
		machines[i] = &conductorv1.FoundMachine{
			InstanceId: string(id), Tombstone: k.machine.tombstone, Unknown: k.machine.unknown,
			FenceGeneration: generation, FenceRevision: here, PowerState: string(vm.PowerRunning),
		}
	}
	txn.Then(coord.Put(c.Keys.LogRoot()+"test", struct{}{}).Witness())
	rev, err := c.Store.Commit(t.Context(), txn)
	require.NoError(t, err)

	h := host{t, c, "one"}
	r, err := h.register("c1", machines...)
	require.NoError(t, err)
	require.Len(t, r.GetVerdicts(), len(cases))
	for i, k := range cases {
		v := r.GetVerdicts()[i]
		require.Equal(t, machines[i].GetInstanceId(), v.GetInstanceId())
		require.Equal(t, k.verdict, v.GetVerdict(), "%s: %s", k.name, v.GetWhy())
		require.Equal(t, k.buries, v.GetTombstone(), k.name)
		require.NotEmpty(t, v.GetWhy(), k.name)
		if k.under != 0 {
			require.Equal(t, k.under, v.GetFenceRevision(), k.name)
		}
		if k.deleted != nil {
			require.Equal(t, rev, v.GetFenceRevision(), "%s: the delete's end is newer than every command before it", k.name)
		}
	}
	require.Nil(t, c.AliveCompute("h1"), "the host is not schedulable before it has done as it was told")
	require.NoError(t, h.activate("c1", r))
	require.NotNil(t, c.AliveCompute("h1"))
}
