package conductor

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"leasehold/api/compute/v1"
	"leasehold/api/conductor/v1"
	"leasehold/vm"
)

// streams answers those who follow.
type streams struct {
	conductorv1.UnimplementedStreamsServer
	c *Conductor
}

// sender is the one half of a stream that is used here: gRPC has it, and HTTP.
type sender[T any] interface{ Send(*T) error }

// repeatEvery is how often a follower hears something though nothing changes: so he can tell a conductor that was stopped,
// whose connections stay open, from a task that takes its time. vmctl gives up on one after 15 s.
const repeatEvery = 5 * time.Second

// WatchTask sends the task now and each time it changes, until it has ended.
func (s *streams) WatchTask(req *conductorv1.GetRequest, out grpc.ServerStreamingServer[conductorv1.Task]) error {
	who, err := callerOf(out.Context(), "")
	if err != nil {
		return err
	}
	return s.watch(out.Context(), req, who, out)
}

func (s *streams) watch(ctx context.Context, req *conductorv1.GetRequest, who caller, out sender[conductorv1.Task]) error {
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return err
	}
	task, _, err := s.c.taskOf(ctx, who.project, req.GetId())
	if err != nil {
		return err
	}
	repeat := time.NewTicker(repeatEvery)
	defer repeat.Stop()
	watching := s.c.watchers.watch(task.ID)
	defer watching.leave()
	var last *conductorv1.Task
	for due := true; ; {
		changed := watching.next()
		task, mod, err := s.c.findTask(ctx, task.ID)
		if err != nil {
			return err
		}
		view := s.c.taskView(task, mod)
		if due || !proto.Equal(view, last) {
			if err := out.Send(view); err != nil {
				return err
			}
			last, due = view, false
			repeat.Reset(repeatEvery)
		}
		if task.Status.Terminal() {
			return nil
		}
		select {
		case <-changed:
		case <-repeat.C:
			due = true
		case <-ctx.Done():
			return over(ctx)
		}
	}
}

// Console joins the instance's serial line: what comes from either side goes to the other.
func (s *streams) Console(people grpc.BidiStreamingServer[conductorv1.ConsoleInput, conductorv1.ConsoleOutput]) error {
	first, err := people.Recv()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(people.Context())
	defer cancel(nil)
	id, agent, err := s.consoleOf(ctx, first.GetInstance())
	if err != nil {
		return err
	}
	line, err := agent.Console(ctx)
	if err != nil {
		return err
	}
	if err := line.Send(&computev1.ConsoleInput{InstanceId: string(id), Data: first.GetData()}); err != nil {
		return err
	}
	go typed(people, line) // its Recv ends with the stream, which is when Console returns
	for {
		seen, err := line.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case people.Context().Err() != nil:
			return over(people.Context())
		case err != nil:
			return err
		}
		if err := people.Send(&conductorv1.ConsoleOutput{Data: seen.GetData()}); err != nil {
			return err
		}
	}
}

// typed carries what is typed to the line. Who has no more to say may still listen.
func typed(people grpc.BidiStreamingServer[conductorv1.ConsoleInput, conductorv1.ConsoleOutput],
	line grpc.BidiStreamingClient[computev1.ConsoleInput, computev1.ConsoleOutput],
) {
	for {
		in, err := people.Recv()
		if err != nil {
			_ = line.CloseSend() // the other half reports what is wrong with the line
			return
		}
		if line.Send(&computev1.ConsoleInput{Data: in.GetData()}) != nil {
			return
		}
	}
}

// consoleOf finds the agent that has the instance's serial line.
func (s *streams) consoleOf(ctx context.Context, typed string) (vm.InstanceID, computev1.ComputeClient, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return "", nil, err
	}
	found, err := s.c.instanceOf(ctx, who.project, typed)
	if err != nil {
		return "", nil, err
	}
	in := found.rec
	if found.gone || in.Host == "" {
		return "", nil, vm.Refuse(vm.ReasonStateForbids, "cannot open the console of instance %s: it is %s and has no machine", in.ID, in.State)
	}
	alive, ok := s.c.hosts.alive(in.Host)
	if !ok {
		return "", nil, &vm.Refusal{
			Why: vm.ReasonHostDown, Host: in.Host, Since: s.c.hosts.downSince(in.Host),
			Message: "cannot open the console of instance " + string(in.ID) + ": its host " + string(in.Host) + " is down",
		}
	}
	agent, err := s.c.agents.client(alive.Address)
	return in.ID, agent, err
}

// Events sends what changes, from a revision on while that is still known, else from now on.
func (s *streams) Events(req *conductorv1.EventsRequest, out grpc.ServerStreamingServer[conductorv1.Event]) error {
	who, err := callerOf(out.Context(), "")
	if err != nil {
		return err
	}
	return s.events(out.Context(), req, who, out)
}

func (s *streams) events(ctx context.Context, req *conductorv1.EventsRequest, who caller, out sender[conductorv1.Event]) error {
	if req.GetFromRevision() < 0 {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot send events from revision %d: it is below zero", req.GetFromRevision())
	}
	filter := eventFilter{project: who.project}
	if req.GetInstance() != "" {
		found, err := s.c.instanceOf(ctx, who.project, req.GetInstance())
		if err != nil {
			return err
		}
		filter.instance = found.rec.ID
	}
	at, err := s.c.feed.position(req.GetFromRevision())
	if err != nil {
		return err
	}
	for {
		batch, next, wake, err := s.c.feed.since(at)
		if err != nil {
			return err
		}
		at = next
		for i := range batch {
			if e := s.c.eventOf(batch, i, filter); e != nil {
				if err := out.Send(e); err != nil {
					return err
				}
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return over(ctx)
		}
	}
}
