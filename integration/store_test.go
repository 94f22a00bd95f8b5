package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/integration/cluster"
	"leasehold/vm"
)

// P3. Symptom: after an operator has restored or replaced the store, agents refuse every fence of the new generation, and
// nobody tells them to register again: each task goes from conductor to conductor for ever.
func TestANewStoreGenerationMakesHostsRegisterAgain(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, HostTTL: 3 * time.Second})
	id := c.Make("one", vm.Active)
	kv, err := c.Store.Get(t.Context(), c.Keys.Store())
	require.NoError(t, err)
	var s vm.Store
	require.NoError(t, kv.Decode(&s))
	s.Generation++
	_, err = c.Store.Commit(t.Context(), new(coord.Txn{Name: "test"}).Then(coord.Put(c.Keys.Store(), s).Witness()))
	require.NoError(t, err)
	task := c.Run(cluster.Order{Verb: vm.Stop, Instance: id, Force: true})
	require.Equal(t, s.Generation, task.Attempts[len(task.Attempts)-1].Fence.Generation)
	c.AwaitQuiet()
}

// Symptom: a conductor whose cache does not know a name yet takes it for the end of another instance's id, and deletes that.
func TestANameIsNotTakenForPartOfAnotherInstancesID(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	victim := c.Make("victim", vm.Active)
	name := victim[len(victim)-4:]
	named := c.Make(name, vm.Active)
	for _, conductor := range c.Living() {
		got, err := c.Client(conductor).GetInstance(t.Context(), &conductorv1.GetRequest{Id: name})
		require.NoError(t, err)
		require.Equal(t, named, got.GetId())
	}
}
