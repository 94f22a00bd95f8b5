package cluster

import (
	"context"

	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

// CheckWorld checks P2 on what the simulated hypervisors really did: no instance executed on two hosts at once, and none
// began to execute after its delete had succeeded.
func (c *Cluster) CheckWorld() {
	c.t.Helper()
	log, err := sim.ReadWorld(c.world)
	require.NoError(c.t, err)
	for _, e := range sim.Twice(log) {
		c.t.Errorf("P2: instance %s began to execute on %s while it executed elsewhere", e.ID, e.Host)
	}
	deleted := c.deletes()
	for _, e := range log {
		if t, gone := deleted[e.ID]; gone && e.Starts && t.EndedAt.Before(e.At) {
			c.t.Errorf("P2: instance %s began to execute on %s after task %s had deleted it", e.ID, e.Host, t.ID)
		}
	}
}

// Executing are the instances that execute now on hosts that are not killed.
func (c *Cluster) Executing() map[vm.InstanceID]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[vm.InstanceID]string{}
	for _, x := range c.computes {
		if x.dead() {
			continue
		}
		for id := range x.Driver.Executions() {
			out[id] = x.Name
		}
	}
	return out
}

// deletes are the deletes that succeeded, by instance.
func (c *Cluster) deletes() map[vm.InstanceID]*vm.Task {
	c.t.Helper()
	out := map[vm.InstanceID]*vm.Task{}
	for _, t := range c.History() {
		if t.Kind == vm.Delete && t.Status == vm.TaskSucceeded {
			out[t.Instance] = t
		}
	}
	return out
}

// History is every closed task, oldest first.
func (c *Cluster) History() []*vm.Task {
	c.t.Helper()
	page, err := c.Store.List(context.WithoutCancel(c.t.Context()), c.Keys.HistoryRoot(), "", 0, false)
	require.NoError(c.t, err)
	var out []*vm.Task
	for _, kv := range page.KVs {
		t := new(vm.Task)
		require.NoError(c.t, coord.KV.Decode(kv, t))
		out = append(out, t)
	}
	return out
}
