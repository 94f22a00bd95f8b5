package integration_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/integration/cluster"
	"leasehold/internal/netfault"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// P1. Two conductors are told to stop one instance, and both have decided that it is legal before either writes.
func TestTwoStopsInTheSameInstantAreOneAndARefusal(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	id := c.Make("one", vm.Active)
	holds := []*cluster.Trap{c.Hold("c1", "txn:stop.admit:before", 1), c.Hold("c2", "txn:stop.admit:before", 1)}
	answers := make([]*conductorv1.InstanceTask, 2)
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, name := range []string{"c1", "c2"} {
		client := c.Client(name)
		both.Go(func() {
			answers[i], errs[i] = client.StopInstance(t.Context(), &conductorv1.StopRequest{Id: id, Force: true})
		})
	}
	for _, h := range holds {
		h.Await(t)
	}
	for _, h := range holds {
		h.Thaw()
	}
	both.Wait()
	won, lost := 0, 1
	if errs[0] != nil {
		won, lost = 1, 0
	}
	require.NoError(t, errs[won])
	require.Error(t, errs[lost], "only one of them is admitted")
	refusal := rpc.FromStatus(errs[lost])
	// The winner's task may have ended by the time the loser reads why it lost: then the instance is stopped already.
	if vm.ReasonOf(refusal) != vm.ReasonStateForbids {
		require.Equal(t, vm.ReasonTaskInProgress, vm.ReasonOf(refusal), "%v", refusal)
		var r *vm.Refusal
		require.ErrorAs(t, refusal, &r)
		require.Equal(t, answers[won].GetTask().GetId(), string(r.Task), "the refusal names the task in the way")
	}
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(answers[won].GetTask().GetId()).Status)
	c.AwaitQuiet()
	require.Len(t, c.History(), 2, "one create and one stop")
}

// P1. Reservations exclude, not locks: two full conductors admit without claim and locks, and still only one of two stops
// decided at the same time is admitted.
func TestTheReservationExcludesWithoutAnyLock(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, MaxTasks: 1})
	id := c.Make("one", vm.Active)
	var hung []string
	for _, name := range []string{"c1", "c2"} { // from now on neither has room
		a := c.Send(cluster.Order{Verb: vm.Create, Name: "hangs-" + name, First: name, Metadata: map[string]string{"sim.hang.image": "true"}})
		hung = append(hung, a.GetInstance().GetId())
	}
	first, second := c.Hold("c1", "txn:stop.admit:before", 1), c.Hold("c2", "txn:stop.admit:before", 1)
	type outcome struct {
		answer *conductorv1.InstanceTask
		err    error
	}
	stop := func(name string) <-chan outcome {
		client, done := c.Client(name), make(chan outcome, 1)
		go func() {
			answer, err := client.StopInstance(t.Context(), &conductorv1.StopRequest{Id: id, Force: true})
			done <- outcome{answer, err}
		}()
		return done
	}
	one, two := stop("c1"), stop("c2")
	first.Await(t)
	second.Await(t)
	first.Thaw()
	won := <-one
	require.NoError(t, won.err)
	require.Equal(t, string(vm.TaskQueued), won.answer.GetTask().GetStatus(), "nobody drives it")
	second.Thaw()
	lost := <-two
	require.Equal(t, vm.ReasonTaskInProgress, vm.ReasonOf(rpc.FromStatus(lost.err)), "%v", lost.err)
	for _, h := range hung {
		c.Run(cluster.Order{Verb: vm.Delete, Instance: h})
	}
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(won.answer.GetTask().GetId()).Status)
	c.AwaitQuiet()
}

// P1. A conductor that was cut off and replaced still reaches the agent: its command, sent late, must find the fence raised
// by whoever looked at the machine since.
func TestALateCommandOfAReplacedConductorIsRefused(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, SessionTTL: 30 * time.Second})
	id := c.Make("one", vm.Active)
	hold := c.Hold("c1", "agent:run:pausing:before", 1)
	answer, err := c.Client("c1").PauseInstance(t.Context(), &conductorv1.VerbRequest{Id: id})
	require.NoError(t, err)
	hold.Await(t)
	first := c.Conductor("c1")
	taskID := answer.GetTask().GetId()
	// A user cancels; c1 does not hear of it any more, and c2 does before it takes over.
	first.Etcd.Set(netfault.BlackHole)
	_, err = c.Client("c2").CancelTask(t.Context(), &conductorv1.CancelTaskRequest{Id: taskID})
	require.NoError(t, err)
	first.Isolate()
	task := c.AwaitTask(taskID)
	require.Equal(t, vm.TaskCancelled, task.Status)
	require.Equal(t, vm.Active, c.Instance(id).State)

	refused := c.Compute("h1").Refused()
	hold.Thaw()
	c.Await("the late command's arrival", func() bool {
		return c.Compute("h1").Refused() > refused || len(c.Executing()) == 0
	})
	require.Len(t, c.Executing(), 1, "the late pause changed nothing")
	c.AwaitQuiet()
}

// P4. Delete during a create whose image step hangs: deleted at once, no machine ever appears, nothing leaks.
func TestDeletePreemptsACreateThatHangs(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	answer := c.Send(cluster.Order{Verb: vm.Create, Name: "stuck", Metadata: map[string]string{"sim.hang.image": "true"}})
	id := answer.GetInstance().GetId()
	c.Await("the create's spawn", func() bool { in := c.Instance(id); return in != nil && in.TaskState == vm.Spawning })
	del := c.Run(cluster.Order{Verb: vm.Delete, Instance: id})
	require.Equal(t, vm.TaskID(answer.GetTask().GetId()), del.Cancels)
	create := c.Task(answer.GetTask().GetId())
	require.Equal(t, vm.TaskCancelled, create.Status)
	require.Equal(t, vm.ReasonPreempted, create.Error.Reason)
	require.Empty(t, c.Executing())
	c.AwaitQuiet()
}
