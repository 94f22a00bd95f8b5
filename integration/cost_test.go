package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/integration/cluster"
	"leasehold/vm"
)

// TestTheCostOfATask counts raft entries, which is every write to the store by anybody: a task with one step costs two, a
// create three, and the agent's events about what a task did cost nothing.
func TestTheCostOfATask(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 3, Computes: 2, SessionTTL: time.Minute, HostTTL: time.Minute, Etcd: alone(t)})
	for _, s := range []struct {
		verb vm.Verb
		from vm.State
		cost uint64
	}{
		{vm.Create, "", 3},
		{vm.Stop, vm.Active, 2},
		{vm.Start, vm.Stopped, 2},
		{vm.Pause, vm.Active, 2},
		{vm.Unpause, vm.Paused, 2},
		{vm.Reboot, vm.Active, 2},
		{vm.Delete, vm.Active, 2},
	} {
		t.Run(string(s.verb), func(t *testing.T) {
			c := c.For(t)
			var id string
			if s.from != "" {
				id = c.Make(string(s.verb), s.from)
			}
			c.Settle()
			before := c.Etcd.RaftIndex()
			task := c.Run(cluster.Order{Verb: s.verb, Instance: id, Name: "made", Force: true, Hard: true})
			c.Settle()
			require.Equal(t, s.cost, c.Etcd.RaftIndex()-before, "transactions of a %s", s.verb)
			if s.verb == vm.Create {
				c.Run(cluster.Order{Verb: vm.Delete, Instance: string(task.Instance)})
			}
		})
	}
}

// TestAnIdleClusterOnlyKeepsItsLeases: without requests nothing is written and nothing is asked of etcd but to renew leases.
func TestAnIdleClusterOnlyKeepsItsLeases(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 3, Computes: 2, SessionTTL: 3 * time.Second, HostTTL: 3 * time.Second, Etcd: alone(t)})
	c.Make("idle", vm.Active)
	c.Settle()
	before, reads := c.Etcd.RaftIndex(), c.Reads()
	renewed := c.Renewals()
	c.Await("three renewals of every lease", func() bool { return c.Renewals() >= renewed+3*5 })
	require.Equal(t, before, c.Etcd.RaftIndex(), "nothing was written")
	require.Equal(t, reads, c.Reads(), "nothing was read")
}
