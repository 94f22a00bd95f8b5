package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// Password is what an order to set one asks for.
const Password = "swordfish"

// Order is a request for a verb on an instance, as a client would send it: with an idempotency key, to one conductor after
// another until one answers.
type Order struct {
	Verb     vm.Verb
	Instance string            // empty for create
	Name     string            // of a create, or of a snapshot's image
	Metadata map[string]string // of a create
	First    string            // the conductor that is asked first; any when empty
	Key      string            // idempotency key, a fresh one when empty
	Each     time.Duration     // what one conductor has to answer before the next is asked; Patience when zero
	Force    bool              // of a stop
	Hard     bool              // of a reboot
}

// Send makes an order and fails the test when it is refused.
func (c *Cluster) Send(o Order) *conductorv1.InstanceTask {
	c.t.Helper()
	answer, err := c.TrySend(o)
	require.NoError(c.t, err, "%s %s", o.Verb, o.Instance)
	return answer
}

// TrySend makes an order, over as many conductors as it takes to get an answer. The error is a *vm.Refusal.
func (c *Cluster) TrySend(o Order) (*conductorv1.InstanceTask, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), Patience)
	defer cancel()
	if o.Key == "" {
		o.Key = uuid.NewString()
	}
	if o.Each == 0 {
		o.Each = Patience
	}
	names := c.Living()
	if o.First != "" {
		names = append([]string{o.First}, names...)
	}
	for i := 0; ; i++ {
		if i >= len(names) {
			names, i = c.Living(), 0
		}
		x := c.Conductor(names[i])
		if x == nil {
			continue
		}
		answer, err := o.ask(ctx, conductorv1.NewConductorClient(c.conn(x.Address)))
		err = rpc.FromStatus(err)
		if _, lost := errors.AsType[*rpc.NoAnswerError](err); lost || vm.ReasonOf(err) == vm.ReasonStoreUnavailable {
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		return answer, err
	}
}

func (o Order) ask(ctx context.Context, client conductorv1.ConductorClient) (*conductorv1.InstanceTask, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Each)
	defer cancel()
	key := o.Key
	verb := &conductorv1.VerbRequest{Id: o.Instance, RequestId: key}
	switch o.Verb {
	case vm.Create:
		return client.CreateInstance(ctx, &conductorv1.CreateInstanceRequest{
			Name: o.Name, Flavor: "tiny", Image: "default", Metadata: o.Metadata, RequestId: key,
		})
	case vm.Delete:
		return client.DeleteInstance(ctx, &conductorv1.DeleteRequest{Id: o.Instance, RequestId: key})
	case vm.Start:
		return client.StartInstance(ctx, verb)
	case vm.Stop:
		return client.StopInstance(ctx, &conductorv1.StopRequest{Id: o.Instance, RequestId: key, Force: o.Force})
	case vm.Reboot:
		return client.RebootInstance(ctx, &conductorv1.RebootRequest{Id: o.Instance, RequestId: key, Hard: o.Hard})
	case vm.Pause:
		return client.PauseInstance(ctx, verb)
	case vm.Unpause:
		return client.UnpauseInstance(ctx, verb)
	case vm.Suspend:
		return client.SuspendInstance(ctx, verb)
	case vm.Resume:
		return client.ResumeInstance(ctx, verb)
	case vm.Rescue:
		return client.RescueInstance(ctx, &conductorv1.ImageVerbRequest{Id: o.Instance, RequestId: key})
	case vm.Unrescue:
		return client.UnrescueInstance(ctx, verb)
	case vm.Rebuild:
		return client.RebuildInstance(ctx, &conductorv1.ImageVerbRequest{Id: o.Instance, RequestId: key})
	case vm.Snapshot:
		return client.SnapshotInstance(ctx, &conductorv1.SnapshotRequest{Id: o.Instance, RequestId: key, Name: o.Name})
	case vm.SetPassword:
		return client.SetPasswordInstance(ctx, &conductorv1.SetPasswordRequest{Id: o.Instance, RequestId: key, Password: Password})
	default:
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot send %s: the harness does not know it", o.Verb)
	}
}

// Make creates an instance and brings it into a state by the shortest way.
func (c *Cluster) Make(name string, state vm.State) string {
	c.t.Helper()
	id := c.Run(Order{Verb: vm.Create, Name: name}).Instance
	switch state {
	case vm.Active:
	case vm.Stopped:
		c.Run(Order{Verb: vm.Stop, Instance: string(id), Force: true})
	case vm.Paused:
		c.Run(Order{Verb: vm.Pause, Instance: string(id)})
	case vm.Suspended:
		c.Run(Order{Verb: vm.Suspend, Instance: string(id)})
	case vm.Rescued:
		c.Run(Order{Verb: vm.Rescue, Instance: string(id)})
	default:
		c.t.Fatalf("no way to make an instance %s", state)
	}
	return string(id)
}

// Run sends an order and waits until its task has succeeded.
func (c *Cluster) Run(o Order) *vm.Task {
	c.t.Helper()
	answer := c.Send(o)
	task := c.AwaitTask(answer.GetTask().GetId())
	require.Equal(c.t, vm.TaskSucceeded, task.Status, "%s: %+v", o.Verb, task.Error)
	return task
}
