package integration_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/integration/cluster"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// sent is what a request was answered, when it is.
type sent struct {
	answer *conductorv1.InstanceTask
	err    error
}

// send makes an order in the background, to one conductor only.
func send(c *cluster.Cluster, o cluster.Order) <-chan sent {
	done := make(chan sent, 1)
	go func() {
		answer, err := c.TrySend(o)
		done <- sent{answer, err}
	}()
	return done
}

// P5. One key is one request: while it runs, after it has ended, and on a conductor whose cache has heard of nothing.
func TestAKeyIsOneRequestWhicheverConductorIsAsked(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	id := c.Make("one", vm.Active)
	stop := cluster.Order{Verb: vm.Stop, Instance: id, Force: true, First: "c1", Key: uuid.NewString()}
	late := stop
	late.First = "c2"

	// c2 has found the stop legal, and writes when c1's has come and gone.
	hold := c.Hold("c2", "txn:stop.admit:before", 1)
	second := send(c, late)
	hold.Await(t)
	first := c.Run(stop)
	hold.Thaw()
	got := <-second
	require.NoError(t, got.err)
	require.Equal(t, string(first.ID), got.answer.GetTask().GetId())
	require.Equal(t, string(vm.TaskSucceeded), got.answer.GetTask().GetStatus())
	// Now both know that it is stopped: a stop is not legal any more, and this one was.
	for _, name := range []string{"c1", "c2"} {
		stop.First = name
		require.Equal(t, string(first.ID), c.Send(stop).GetTask().GetId())
	}
	other := stop
	other.Force = false
	_, err := c.TrySend(other)
	require.Equal(t, vm.ReasonKeyReused, vm.ReasonOf(err), "%v", err)
	require.Len(t, c.History(), 2, "one create and one stop")

	// A create has no record that two of them could compare, but for the key.
	create := cluster.Order{Verb: vm.Create, Name: "two", First: "c1", Key: uuid.NewString()}
	late = create
	late.First = "c2"
	hold = c.Hold("c2", "txn:create.admit:before", 1)
	second = send(c, late)
	hold.Await(t)
	first = c.Run(create)
	hold.Thaw()
	got = <-second
	require.NoError(t, got.err)
	require.Equal(t, string(first.ID), got.answer.GetTask().GetId())
	require.Equal(t, string(first.Instance), got.answer.GetInstance().GetId())
	require.Len(t, c.Executing(), 1)
	c.AwaitQuiet()
}

// P4. A delete during a delete is the same delete, also when both were decided at once; a delete of what is deleted is done.
func TestADeleteDuringADeleteJoinsIt(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	id := c.Make("one", vm.Active)
	late := c.Hold("c2", "txn:delete.admit:before", 1)
	ends := c.Hold("c1", "txn:delete.finish:before", 1)
	second := send(c, cluster.Order{Verb: vm.Delete, Instance: id, First: "c2"})
	late.Await(t)
	first := c.Send(cluster.Order{Verb: vm.Delete, Instance: id, First: "c1"}).GetTask().GetId()
	ends.Await(t)
	late.Thaw()
	got := <-second
	require.NoError(t, got.err)
	require.Equal(t, first, got.answer.GetTask().GetId())
	for _, name := range []string{"c1", "c2"} {
		require.Equal(t, first, c.Send(cluster.Order{Verb: vm.Delete, Instance: id, First: name}).GetTask().GetId())
	}
	ends.Thaw()
	task := c.AwaitTask(first)
	require.Equal(t, vm.TaskSucceeded, task.Status)
	require.Empty(t, task.Cancels, "nobody cancelled a delete")
	for _, name := range []string{"c1", "c2"} {
		answer := c.Send(cluster.Order{Verb: vm.Delete, Instance: id, First: name})
		require.Nil(t, answer.GetTask(), "there is nothing to do")
		require.Equal(t, string(vm.Deleted), answer.GetInstance().GetVmState())
	}
	require.Len(t, c.History(), 2, "one create and one delete")
	c.AwaitQuiet()
}

// P4, P8. A delete of what is on a host that is down waits, says for what, and ends when the host is back.
func TestADeleteWaitsForTheHostAndSaysSo(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, HostTTL: 2 * time.Second})
	id := c.Make("one", vm.Active)
	host := c.Compute("h1")
	host.Kill()
	c.Await("c1 has heard of the end of h1's lease", func() bool {
		in, err := c.Client("c1").GetInstance(t.Context(), &conductorv1.GetRequest{Id: id})
		return err == nil && in.GetHostStatus() == "down"
	})
	_, err := c.TrySend(cluster.Order{Verb: vm.Stop, Instance: id, First: "c1"})
	require.Equal(t, vm.ReasonHostDown, vm.ReasonOf(err), "%v", err)

	del := c.Send(cluster.Order{Verb: vm.Delete, Instance: id, First: "c1"}).GetTask().GetId()
	c.Await("the delete's wait", func() bool { task := c.Task(del); return task != nil && task.Waiting != nil })
	task := c.Task(del)
	require.Equal(t, vm.TaskRunning, task.Status)
	require.Equal(t, vm.ReasonHostDown, task.Waiting.Reason)
	require.Equal(t, &vm.Resource{Kind: vm.KindHost, ID: "h1"}, task.Waiting.On)
	// Who drives it dies: the one that takes over waits as well.
	c.Conductor("c1").Kill()
	c.Await("the takeover", func() bool { task := c.Task(del); return len(task.Attempts) == 2 && task.Waiting != nil })
	require.NotNil(t, c.Instance(id), "P2: it is not deleted while it may execute")

	host.Restart()
	task = c.AwaitTask(del)
	require.Equal(t, vm.TaskSucceeded, task.Status)
	require.Nil(t, task.Waiting)
	require.Empty(t, c.Executing())
	c.AwaitQuiet()
}

// A cancel is asked of any conductor and heard by the one that drives; past the point of no return it is too late.
func TestACancelIsHeardOrTooLate(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	slow := c.Run(cluster.Order{Verb: vm.Create, Name: "slow", Metadata: map[string]string{"sim.latency.stop": "1h"}}).Instance
	cancel := func(conductor, task string) error {
		_, err := c.Client(conductor).CancelTask(t.Context(), &conductorv1.CancelTaskRequest{Id: task})
		return rpc.FromStatus(err)
	}
	stop := c.Send(cluster.Order{Verb: vm.Stop, Instance: string(slow), Force: true, First: "c1"}).GetTask().GetId()
	require.NoError(t, cancel("c2", stop))
	task := c.AwaitTask(stop)
	require.Equal(t, vm.TaskCancelled, task.Status)
	require.Equal(t, vm.ReasonCancelled, task.Error.Reason)
	require.Len(t, task.Attempts, 1)
	require.Equal(t, vm.Active, c.Instance(string(slow)).State, "it is where its machine is")
	require.Len(t, c.Executing(), 1)
	require.Equal(t, vm.ReasonTooLate, vm.ReasonOf(cancel("c1", stop)), "it has ended")

	// Twice at once, of two conductors: one flag.
	stop = c.Send(cluster.Order{Verb: vm.Stop, Instance: string(slow), Force: true, First: "c1"}).GetTask().GetId()
	asked := c.Hold("c1", "txn:cancel:before", 1)
	twice := make(chan error, 1)
	go func() { twice <- cancel("c1", stop) }()
	asked.Await(t)
	require.NoError(t, cancel("c2", stop))
	ended := c.AwaitTask(stop)
	require.Equal(t, vm.TaskCancelled, ended.Status)
	asked.Thaw()
	require.Equal(t, vm.ReasonTooLate, vm.ReasonOf(<-twice), "a flag for a task that has ended would stay for ever")

	// A stop that has been done and is being written down hears nothing any more; the flag goes with the task.
	quick := c.Make("quick", vm.Active)
	hold := c.Hold("c1", "txn:stop.finish:before", 1)
	stop = c.Send(cluster.Order{Verb: vm.Stop, Instance: quick, Force: true, First: "c1"}).GetTask().GetId()
	hold.Await(t)
	require.NoError(t, cancel("c2", stop))
	hold.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(stop).Status)

	hold = c.Hold("c1", "txn:delete.finish:before", 1)
	del := c.Send(cluster.Order{Verb: vm.Delete, Instance: quick, First: "c1"}).GetTask().GetId()
	hold.Await(t)
	for _, name := range []string{"c1", "c2"} {
		require.Equal(t, vm.ReasonTooLate, vm.ReasonOf(cancel(name, del)))
	}
	hold.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(del).Status)
	c.AwaitQuiet()
}

// What a guest does by itself is written down when its instance is idle; while a task has it, the task decides, and what a
// task does is not told twice.
func TestOnlyAnIdleInstanceIsObserved(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, SessionTTL: time.Minute, HostTTL: time.Minute, Etcd: alone(t)})
	id := c.Make("one", vm.Active)
	sim := c.Compute("h1").Driver
	require.NoError(t, sim.GuestShutdown(vm.InstanceID(id)))
	c.Await("the sight of the shutdown", func() bool { return c.Observed(id).PowerState == vm.PowerShutdown })
	require.Equal(t, vm.Stopped, c.Instance(id).State, "the record follows a guest that powers itself off")

	c.Run(cluster.Order{Verb: vm.Start, Instance: id})
	require.Equal(t, vm.PowerRunning, c.Observed(id).PowerState)
	hold := c.Hold("", "txn:reboot.finish:before", 1)
	task := c.Send(cluster.Order{Verb: vm.Reboot, Instance: id, Hard: true}).GetTask().GetId()
	hold.Await(t)
	before := c.Etcd.RaftIndex()
	require.NoError(t, sim.GuestCrash(vm.InstanceID(id)))
	c.Settle()
	require.Equal(t, before, c.Etcd.RaftIndex(), "a crash during a task writes nothing")
	hold.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(task).Status)
	c.Await("the sight of the crash", func() bool { return c.Observed(id).PowerState == vm.PowerCrashed })
	c.Settle()
	before = c.Etcd.RaftIndex()
	c.Run(cluster.Order{Verb: vm.Reboot, Instance: id, Hard: true})
	c.Settle()
	require.Equal(t, uint64(2), c.Etcd.RaftIndex()-before, "a change that a task made costs the task's two writes and no other")
	require.Equal(t, vm.PowerRunning, c.Observed(id).PowerState)
	c.AwaitQuiet()
}
