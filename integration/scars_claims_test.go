package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/integration/cluster"
	"leasehold/internal/netfault"
	"leasehold/tasks"
	"leasehold/vm"
)

// P3, P5. Symptom: an admission commits and its answer is lost; the claim hangs on a session that lives on, so nobody takes
// the task over, and nobody drives it.
func TestAClaimWhoseAdmissionWasNeverAnsweredIsReleasedAndTakenOver(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, SessionTTL: time.Minute, HostTTL: time.Minute})
	id := c.Make("one", vm.Active)
	steps := c.Compute("h1").Stats().GetSteps()
	first := c.Conductor("c1")

	hold := c.Hold("c1", "txn:stop.admit:before", 1)
	req := &conductorv1.StopRequest{Id: id, Force: true, RequestId: uuid.NewString()}
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	client, answered := c.Client("c1"), make(chan error, 1)
	go func() { _, err := client.StopInstance(ctx, req); answered <- err }()
	hold.Await(t)
	first.Etcd.Set(netfault.Mute) // the store hears c1, and c1 hears nothing
	hold.Thaw()
	c.Await("the admission's commit", func() bool { return c.Instance(id).Task != "" })
	task := c.Instance(id).Task
	claim, err := c.Store.Get(t.Context(), c.Keys.Claim(task))
	require.NoError(t, err)
	giveUp()
	require.Error(t, <-answered)
	c.Await("c1 gives up on its commit", func() bool {
		return first.Metric("leasehold_etcd_txn_seconds_count", `txn="stop.admit"`, `outcome="error"`) > 0
	})
	first.Etcd.Set(netfault.Pass)

	ended := c.AwaitTask(string(task))
	require.Equal(t, vm.TaskSucceeded, ended.Status)
	require.Len(t, ended.Attempts, 2)
	require.Equal(t, vm.ConductorName("c1"), ended.Attempts[0].Conductor)
	require.Equal(t, claim.Create, ended.Attempts[0].Fence.Revision, "the fence of the attempt nobody made is told as it was")
	require.Equal(t, "takeover", ended.Attempts[1].Why)
	again, err := c.Client("c2").StopInstance(t.Context(), req)
	require.NoError(t, err, "the user's next try finds what the first one did")
	require.Equal(t, string(task), again.GetTask().GetId())
	require.Equal(t, steps+1, c.Compute("h1").Stats().GetSteps(), "it was done once")
	c.AwaitQuiet()
}

// line starts a cluster in which one task holds a volume and is about to end.
func line(t *testing.T, conductors int) (*cluster.Cluster, []vm.Resource, *cluster.Trap) {
	t.Helper()
	kinds := tasks.All()
	kinds[vm.Suspend] = (&sharing{busy: map[string]vm.TaskID{}}).kind()
	c := cluster.Start(t, cluster.Options{Conductors: conductors, Computes: 1, Kinds: kinds})
	shared := []vm.Resource{volume(t, c, "v1")}
	hold := c.Hold("", "txn:suspend.finish:before", 1)
	_, err := c.Conductor("c1").Replica.Admit(t.Context(), order(c.Make("holder", vm.Active), shared))
	require.NoError(t, err)
	hold.Await(t)
	return c, shared, hold
}

// waits has a task wait in the line.
func waits(t *testing.T, c *cluster.Cluster, conductor, instance string, shared []vm.Resource) vm.TaskID {
	t.Helper()
	admitted, err := c.Conductor(conductor).Replica.Admit(t.Context(), order(instance, shared))
	require.NoError(t, err)
	require.Equal(t, vm.TaskWaiting, admitted.Task.Status)
	return admitted.Task.ID
}

// P1. Symptom: a task that waits has no claim; it looks like an orphan, and is driven without what it waits for.
func TestAWaitingTaskOutlivesItsConductorAndStartsByAGrantOnly(t *testing.T) {
	c, shared, hold := line(t, 3)
	instance := c.Make("waits", vm.Active)
	task := waits(t, c, "c2", instance, shared)
	c.Conductor("c2").Kill()
	c.Await("the end of c2's session", func() bool {
		_, err := c.Store.Get(t.Context(), c.Keys.AliveConductor("c2"))
		return err != nil
	})
	// It keeps its instance, so what was legal when it was admitted is legal when it begins.
	_, err := c.TrySend(cluster.Order{Verb: vm.Stop, Instance: instance, First: "c3"})
	require.Equal(t, vm.ReasonTaskInProgress, vm.ReasonOf(err), "%v", err)
	require.Equal(t, vm.TaskWaiting, c.Task(string(task)).Status)

	hold.Thaw()
	ended := c.AwaitTask(string(task))
	require.Equal(t, vm.TaskSucceeded, ended.Status)
	require.Len(t, ended.Attempts, 1, "nobody took it over")
	require.Equal(t, "granted", ended.Attempts[0].Why)
	c.AwaitQuiet()
}

// P4, P6. Symptom: a task that waits is cancelled, or its instance deleted; its ticket stays and holds up the line for ever.
func TestAWaitingTaskThatEndsLeavesTheLine(t *testing.T) {
	c, shared, hold := line(t, 2)
	cancelled, deleted, last := c.Make("cancelled", vm.Active), c.Make("deleted", vm.Active), c.Make("last", vm.Active)
	first := waits(t, c, "c1", cancelled, shared)
	second := waits(t, c, "c2", deleted, shared)
	third := waits(t, c, "c1", last, shared)

	_, err := c.Client("c2").CancelTask(t.Context(), &conductorv1.CancelTaskRequest{Id: string(first)})
	require.NoError(t, err)
	require.Equal(t, vm.TaskCancelled, c.AwaitTask(string(first)).Status)
	require.Equal(t, vm.Active, c.Instance(cancelled).State)
	require.Empty(t, c.Instance(cancelled).Task, "its instance is free at once")

	del := c.Run(cluster.Order{Verb: vm.Delete, Instance: deleted, First: "c1"})
	require.Equal(t, second, del.Cancels)
	require.Empty(t, del.Shared, "it inherits nothing that the other one only waited for")
	require.Equal(t, vm.ReasonPreempted, c.AwaitTask(string(second)).Error.Reason)

	page, err := c.Store.List(t.Context(), c.Keys.Table(coord.Queue), "", 0, false)
	require.NoError(t, err)
	require.Len(t, page.KVs, 1)
	require.Equal(t, c.Keys.Ticket(shared[0], third), page.KVs[0].Key)
	hold.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(string(third)).Status)
	c.AwaitQuiet()
}

// P1, P6. Symptom: a delete closes a task that has a shared volume; the volume stays reserved for a task that is no more, or
// is given to the next one while the old driver is still at it.
func TestADeleteInheritsWhatTheTaskHad(t *testing.T) {
	c, shared, hold := line(t, 2)
	holder := string(read(t, c, shared[0]).Task)
	next := waits(t, c, "c1", c.Make("next", vm.Active), shared)
	ends := c.Hold("c2", "txn:delete.finish:before", 1)
	del := c.Send(cluster.Order{Verb: vm.Delete, Instance: string(c.Task(holder).Instance), First: "c2"}).GetTask().GetId()
	ends.Await(t)
	require.Equal(t, vm.TaskID(del), read(t, c, shared[0]).Task)
	require.Equal(t, vm.TaskWaiting, c.Task(string(next)).Status)
	c.CheckInvariants()
	hold.Thaw() // the task that was closed would finish now
	ends.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(del).Status)
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(string(next)).Status)
	require.Equal(t, vm.TaskCancelled, c.Task(holder).Status)
	require.Empty(t, read(t, c, shared[0]).Task)
	c.AwaitQuiet()
}

// read is a volume as it is now.
func read(t *testing.T, c *cluster.Cluster, r vm.Resource) vm.Volume {
	t.Helper()
	kv, err := c.Store.Get(t.Context(), c.Keys.Record(r))
	require.NoError(t, err)
	var v vm.Volume
	require.NoError(t, kv.Decode(&v))
	return v
}

// P3, P5. A conductor that is full, or draining, admits without claiming: the next free one drives the task.
func TestAFullConductorAdmitsForOthers(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, MaxTasks: 1})
	id := c.Make("one", vm.Active)
	c.Await("c1 has room: what ended is let go of a moment later", func() bool { return c.Conductor("c1").Metric("leasehold_tasks_driving") == 0 })
	hung := c.Send(cluster.Order{Verb: vm.Create, Name: "hangs", First: "c1", Metadata: map[string]string{"sim.hang.image": "true"}})
	answer := c.Send(cluster.Order{Verb: vm.Stop, Instance: id, Force: true, First: "c1"})
	require.Equal(t, string(vm.TaskQueued), answer.GetTask().GetStatus())
	task := c.AwaitTask(answer.GetTask().GetId())
	require.Equal(t, vm.TaskSucceeded, task.Status)
	require.Len(t, task.Attempts, 1, "the one that was full made no attempt")
	require.Equal(t, vm.ConductorName("c2"), task.Attempts[0].Conductor)
	require.Equal(t, "queued", task.Attempts[0].Why)
	c.Run(cluster.Order{Verb: vm.Delete, Instance: hung.GetInstance().GetId(), First: "c2"})
	c.AwaitQuiet()
}

// P3. A clean stop finishes what ends in time, hands over what does not, claims nothing new, and ends its own session.
func TestACleanStopFinishesOrHandsOver(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, SessionTTL: time.Minute, HostTTL: time.Minute})
	ends, asked := c.Make("ends", vm.Active), c.Make("asked", vm.Active)
	first, client := c.Conductor("c1"), c.Client("c1")
	hold := c.Hold("c1", "txn:pause.finish:before", 1)
	pause := c.Send(cluster.Order{Verb: vm.Pause, Instance: ends, First: "c1"}).GetTask().GetId()
	hold.Await(t)
	create := c.Send(cluster.Order{Verb: vm.Create, Name: "long", First: "c1", Metadata: map[string]string{"sim.latency.image": "2s"}})
	c.Await("the create's spawn", func() bool {
		in := c.Instance(create.GetInstance().GetId())
		return in != nil && in.TaskState == vm.Spawning
	})

	stopped := make(chan error, 1)
	go func() { stopped <- first.Stop() }()
	c.Await("c1 drains", func() bool { r := c.AliveConductor("c1"); return r != nil && r.Draining })
	admitted, err := client.StopInstance(t.Context(), &conductorv1.StopRequest{Id: asked, Force: true})
	require.NoError(t, err, "it still admits")
	require.Equal(t, string(vm.TaskQueued), admitted.GetTask().GetStatus(), "for others")
	hold.Thaw()
	require.NoError(t, <-stopped)
	require.Nil(t, c.AliveConductor("c1"), "its lease is gone a minute before its time")

	done := c.AwaitTask(pause)
	require.Equal(t, vm.TaskSucceeded, done.Status)
	require.Len(t, done.Attempts, 1, "what was about to end has ended")
	taken := c.AwaitTask(admitted.GetTask().GetId())
	require.Len(t, taken.Attempts, 1)
	require.Equal(t, vm.ConductorName("c2"), taken.Attempts[0].Conductor)
	over := c.AwaitTask(create.GetTask().GetId())
	require.Equal(t, vm.TaskSucceeded, over.Status)
	require.Len(t, over.Attempts, 2)
	require.Equal(t, vm.ConductorName("c2"), over.Attempts[1].Conductor)
	c.AwaitQuiet()
}

// P3. Symptom: a conductor that cannot reach a host whose lease lives keeps its claim and tries for ever, while every other
// conductor could do the work.
func TestAConductorThatCannotReachTheHostHandsTheTaskOn(t *testing.T) {
	c := cluster.Start(t, cluster.Options{
		Conductors: 2, Computes: 1, SessionTTL: time.Minute, HostTTL: time.Minute, Unreach: 200 * time.Millisecond,
	})
	id := c.Make("one", vm.Active)
	steps := c.Compute("h1").Stats().GetSteps()
	c.Conductor("c1").CutAgents()
	task := c.AwaitTask(c.Send(cluster.Order{Verb: vm.Stop, Instance: id, Force: true, First: "c1"}).GetTask().GetId())
	require.Equal(t, vm.TaskSucceeded, task.Status)
	require.Len(t, task.Attempts, 2, "it ranks itself last afterwards")
	require.Equal(t, vm.ConductorName("c1"), task.Attempts[0].Conductor)
	require.Contains(t, task.Attempts[0].Why, "handed back: the host cannot be reached")
	require.Equal(t, vm.ConductorName("c2"), task.Attempts[1].Conductor)
	require.Equal(t, steps+1, c.Compute("h1").Stats().GetSteps(), "it was done once")
	c.AwaitQuiet()
}
