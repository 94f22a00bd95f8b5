package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/integration/cluster"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// The record follows the machine where the machine is right, and a task puts the machine right where the record is.
func TestTheRecordAndTheMachineComeTogether(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	sim := c.Compute("h1").Driver
	quiet := func(vm.Progress) {}

	crashed := c.Make("crashed", vm.Active)
	require.NoError(t, sim.GuestCrash(vm.InstanceID(crashed)))
	c.Await("the error", func() bool { return c.Instance(crashed).State == vm.Error })
	require.Equal(t, []vm.Verb{vm.Start, vm.Reboot, vm.Rebuild}, c.Instance(crashed).Error.Allowed)
	require.Contains(t, c.Instance(crashed).Error.Message, "crashed (guest-panicked) on host h1")
	c.Run(cluster.Order{Verb: vm.Start, Instance: crashed})
	require.Equal(t, vm.Active, c.Instance(crashed).State)

	started := c.Make("started", vm.Stopped)
	require.NoError(t, sim.Start(t.Context(), vm.InstanceID(started), quiet))
	require.NoError(t, sim.GuestReport(vm.InstanceID(started)))
	c.Await("the stop of what was started behind our back", func() bool { return sim.Executions()[vm.InstanceID(started)].IsZero() })
	c.AwaitQuiet()
	require.Equal(t, vm.Stopped, c.Instance(started).State)
	last := c.History()[len(c.History())-1]
	require.Equal(t, vm.Stop, last.Kind)
	require.Equal(t, "leasehold", last.RequestBy)
	require.Equal(t, vm.TaskSucceeded, last.Status)
	c.AwaitQuiet()
}

// A snapshot's image is there when its task has succeeded; until then nobody can use or delete it; a machine is made of it.
func TestASnapshotIsAnImageWhenItsTaskHasEnded(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	id := c.Make("one", vm.Active)
	client := c.Client("c1")
	hold := c.Hold("", "txn:snapshot.finish:before", 1)
	answer, err := client.SnapshotInstance(t.Context(), &conductorv1.SnapshotRequest{Id: id, Name: "nightly"})
	require.NoError(t, err)
	image := answer.GetImage().GetId()
	require.Equal(t, "saving", answer.GetImage().GetStatus())
	hold.Await(t)
	_, err = client.DeleteImage(t.Context(), &conductorv1.DeleteRequest{Id: image})
	require.Equal(t, vm.ReasonInUse, vm.ReasonOf(rpc.FromStatus(err)))
	_, err = client.CreateInstance(t.Context(), &conductorv1.CreateInstanceRequest{Flavor: "tiny", Image: "nightly"})
	require.Equal(t, vm.ReasonInUse, vm.ReasonOf(rpc.FromStatus(err)))
	hold.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(answer.GetTask().GetId()).Status)

	img, err := client.GetImage(t.Context(), &conductorv1.GetRequest{Id: "nightly", MinRevision: answer.GetRevision() + 1})
	require.NoError(t, err)
	require.Equal(t, "active", img.GetStatus())
	require.Equal(t, "host://h1/"+image, img.GetUrl())
	require.Positive(t, img.GetSizeBytes())
	require.Len(t, img.GetSha256(), 64)
	made, err := client.CreateInstance(t.Context(), &conductorv1.CreateInstanceRequest{Name: "copy", Flavor: "tiny", Image: "nightly"})
	require.NoError(t, err)
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(made.GetTask().GetId()).Status)
	c.Run(cluster.Order{Verb: vm.Delete, Instance: made.GetInstance().GetId()})
	_, err = client.DeleteImage(t.Context(), &conductorv1.DeleteRequest{Id: "nightly"})
	require.NoError(t, err)
	left, err := c.Compute("h1").Driver.Images(t.Context())
	require.NoError(t, err)
	require.Empty(t, left, "P6: its file went with its record")
	c.AwaitQuiet()
}

// P6: a delete that preempts a snapshot takes the half-made image with it.
func TestADeleteDuringASnapshotLeavesNoImage(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	answer := c.Send(cluster.Order{Verb: vm.Create, Name: "one", Metadata: map[string]string{"sim.hang.upload": "true"}})
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(answer.GetTask().GetId()).Status)
	id := answer.GetInstance().GetId()
	snap := c.Send(cluster.Order{Verb: vm.Snapshot, Instance: id, Name: "half"})
	c.Await("the upload", func() bool { return c.Instance(id).TaskState == vm.ImageUploading })
	del := c.Run(cluster.Order{Verb: vm.Delete, Instance: id})
	require.Equal(t, vm.TaskID(snap.GetTask().GetId()), del.Cancels)
	images, err := c.Client("c1").ListImages(t.Context(), &conductorv1.ListRequest{})
	require.NoError(t, err)
	require.Len(t, images.GetImages(), 1, "the default one")
	left, err := c.Compute("h1").Driver.Images(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	c.AwaitQuiet()
}

// A password is durable from its admission on, and nobody but the host could read it, in no record and no log.
func TestAPasswordIsNowhereInTheStore(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1})
	id := c.Make("one", vm.Active)
	hold := c.Hold("", "agent:run:password:before", 1)
	task := c.Send(cluster.Order{Verb: vm.SetPassword, Instance: id}).GetTask().GetId()
	hold.Await(t)
	require.NotEmpty(t, c.Task(task).Params, "it is durable, sealed")
	for _, kv := range c.Snapshot() {
		require.NotContains(t, string(kv.Value), cluster.Password, kv.Key)
	}
	hold.Thaw()
	ended := c.AwaitTask(task)
	require.Equal(t, vm.TaskSucceeded, ended.Status)
	require.Empty(t, ended.Params, "the history keeps nothing of it")
	require.True(t, c.Compute("h1").Driver.HasPassword(vm.InstanceID(id), "root", cluster.Password))

	deaf := c.Send(cluster.Order{Verb: vm.Create, Name: "deaf", Metadata: map[string]string{"sim.no_agent": "true"}})
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(deaf.GetTask().GetId()).Status)
	failed := c.AwaitTask(c.Send(cluster.Order{Verb: vm.SetPassword, Instance: deaf.GetInstance().GetId()}).GetTask().GetId())
	require.Equal(t, vm.TaskFailed, failed.Status)
	require.Equal(t, vm.ReasonUnsupported, failed.Error.Reason)
	require.Contains(t, failed.Error.Message, "no agent that answers")
	require.Equal(t, vm.Active, c.Instance(deaf.GetInstance().GetId()).State)
	c.AwaitQuiet()
}

// P2, P4, P8. A delete while the host is down hides the instance at once and gives its name back; its task waits and says so;
// the host destroys the rest before it is schedulable again.
func TestADeleteWhileTheHostIsDown(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, HostTTL: 2 * time.Second})
	id := c.Make("web", vm.Active)
	h1 := c.Compute("h1")
	h1.Kill()
	c.Await("the end of the host's lease", func() bool { return c.AliveCompute("h1") == nil })
	client := c.Client("c1")
	c.Await("everybody says since when", func() bool {
		in, err := client.GetInstance(t.Context(), &conductorv1.GetRequest{Id: id})
		return err == nil && in.GetHostStatus() == "down" && in.GetHostDownSince() != nil
	})
	_, err := c.TrySend(cluster.Order{Verb: vm.Stop, Instance: id})
	require.Equal(t, vm.ReasonHostDown, vm.ReasonOf(err), "%v", err)

	task := c.Send(cluster.Order{Verb: vm.Delete, Instance: id}).GetTask().GetId()
	c.Await("it is hidden", func() bool { in := c.Instance(id); return in != nil && in.State == vm.Deleted })
	require.Equal(t, []vm.HostName{"h1"}, c.Instance(id).Remains)
	open := c.Task(task)
	require.Equal(t, vm.TaskRunning, open.Status)
	require.Equal(t, vm.ReasonHostDown, open.Waiting.Reason)
	c.Await("lists do not show it", func() bool {
		all, err := client.ListInstances(t.Context(), &conductorv1.ListInstancesRequest{})
		return err == nil && len(all.GetInstances()) == 0
	})
	hidden, err := client.ListInstances(t.Context(), &conductorv1.ListInstancesRequest{State: "deleted"})
	require.NoError(t, err)
	require.Len(t, hidden.GetInstances(), 1)
	require.Equal(t, []string{"h1"}, hidden.GetInstances()[0].GetRemains())
	_, err = c.TrySend(cluster.Order{Verb: vm.Start, Instance: id})
	require.Equal(t, vm.ReasonStateForbids, vm.ReasonOf(err), "for people it is gone: %v", err)
	again := c.Send(cluster.Order{Verb: vm.Delete, Instance: id})
	require.Equal(t, task, again.GetTask().GetId(), "a delete during a delete is the running one")
	why, err := client.ExplainInstance(t.Context(), &conductorv1.GetRequest{Id: id})
	require.NoError(t, err)
	require.Contains(t, why.GetSummary(), "host h1 is down")
	c.CheckInvariants()

	teardown := c.Hold("", "agent:run:teardown:before", 1)
	c.RestartComputes()
	c.Await("the host is schedulable", func() bool { return c.AliveCompute("h1") != nil })
	require.Empty(t, c.Executing(), "P2: what is deleted ends before its host is schedulable again")
	teardown.Await(t)
	teardown.Thaw()
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(task).Status)
	require.Nil(t, c.Instance(id))
	c.Make("web", vm.Active) // its name is free
	c.AwaitQuiet()
}

// A host that never comes back is removed against a signature, and what it owes with it.
func TestAHostIsRemovedForGood(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, HostTTL: 2 * time.Second})
	idle, waits := c.Make("idle", vm.Active), c.Make("waits", vm.Active)
	client := c.Client("c1")
	_, err := client.DeleteHost(t.Context(), &conductorv1.DeleteRequest{Id: "h1"})
	require.Equal(t, vm.ReasonInUse, vm.ReasonOf(rpc.FromStatus(err)), "it is up")
	c.Compute("h1").Kill()
	c.Await("the end of the host's lease", func() bool { return c.AliveCompute("h1") == nil })
	del := c.Send(cluster.Order{Verb: vm.Delete, Instance: waits}).GetTask().GetId()
	_, err = client.DeleteHost(t.Context(), &conductorv1.DeleteRequest{Id: "h1"})
	refusal := rpc.FromStatus(err)
	require.Equal(t, vm.ReasonInUse, vm.ReasonOf(refusal))
	require.ErrorContains(t, refusal, "confirm that it is fenced first")

	_, err = client.ConfirmFencedHost(t.Context(), &conductorv1.ConfirmFencedRequest{Id: "h1", Reason: "sold"})
	require.NoError(t, err)
	_, err = client.DeleteHost(t.Context(), &conductorv1.DeleteRequest{Id: "h1"})
	require.NoError(t, err)
	require.Equal(t, vm.TaskSucceeded, c.AwaitTask(del).Status, "nothing is waited for that never comes")
	c.Await("the instance says what became of it", func() bool { return c.Instance(idle).State == vm.Error })
	in := c.Instance(idle)
	require.Equal(t, vm.ReasonHostDown, in.Error.Reason)
	require.Empty(t, in.Host)
	c.Await("the host's record goes last", func() bool {
		_, err := client.GetHost(t.Context(), &conductorv1.GetRequest{Id: "h1"})
		return vm.ReasonOf(rpc.FromStatus(err)) == vm.ReasonNotFound
	})
	c.Run(cluster.Order{Verb: vm.Delete, Instance: idle})
	c.AwaitQuiet()
	for _, kv := range c.Snapshot() {
		require.False(t, strings.HasPrefix(kv.Key, c.Keys.Root()+"allocations/"), "P6: %s", kv.Key)
	}
}

// What a rebooted host ran is started again, unless the instance says that it stays off.
func TestARebootedHost(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Conductors: 2, Computes: 1, HostTTL: 2 * time.Second})
	again, paused := c.Make("again", vm.Active), c.Make("paused", vm.Paused)
	off := c.Make("off", vm.Active)
	_, err := c.Client("c1").UpdateInstance(t.Context(), &conductorv1.UpdateInstanceRequest{Id: off, OnHostBoot: "stopped"})
	require.NoError(t, err)
	epoch := c.AliveCompute("h1").Epoch

	c.Compute("h1").PowerLoss("another-boot")
	c.Await("a new epoch", func() bool { a := c.AliveCompute("h1"); return a != nil && a.Epoch > epoch })
	c.Await("it runs again", func() bool { _, runs := c.Executing()[vm.InstanceID(again)]; return runs })
	for id, want := range map[string]vm.State{again: vm.Active, paused: vm.Stopped, off: vm.Stopped} {
		c.Await(fmt.Sprintf("%s is %s", id, want), func() bool {
			in := c.Instance(id)
			return in.State == want && in.Task == ""
		})
	}
	c.AwaitQuiet()
	require.Len(t, c.Executing(), 1)
}
