package clitest

import (
	"context"
	"net"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// Replica is one conductor of the cluster.
type Replica struct {
	Address string

	cluster *Cluster
	server  *grpc.Server
	lose    atomic.Int64 // how many answers will still be lost
	silent  atomic.Bool  // it takes calls and answers none, like a stopped process
	done    sync.WaitGroup
}

// Start starts a replica on a loopback port, until the test has ended.
func (c *Cluster) Start(t testing.TB) *Replica {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &Replica{Address: listener.Addr().String(), cluster: c}
	r.server = grpc.NewServer(
		grpc.ChainUnaryInterceptor(r.lossy, rpc.UnaryServer, r.unary),
		grpc.ChainStreamInterceptor(rpc.StreamServer, r.stream))
	conductorv1.RegisterConductorServer(r.server, conductor{Cluster: c, replica: r})
	conductorv1.RegisterStreamsServer(r.server, conductor{Cluster: c, replica: r})
	r.done.Go(func() { _ = r.server.Serve(listener) }) // ends with Kill
	t.Cleanup(r.Kill)
	return r
}

// Kill ends the replica at once: its connections are reset and new ones refused.
func (r *Replica) Kill() {
	r.server.Stop()
	r.done.Wait()
}

// LoseAnswers makes the replica do what the next n calls ask and lose the answers.
func (r *Replica) LoseAnswers(n int64) { r.lose.Store(n) }

// FallSilent makes the replica take calls and never answer; what is being watched there stands still.
func (r *Replica) FallSilent() { r.silent.Store(true) }

func (r *Replica) lossy(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	if r.lose.Add(-1) >= 0 {
		return nil, status.Error(codes.Unavailable, "connection reset") // what a client's library says then
	}
	return resp, err
}

func (r *Replica) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	message, _ := req.(proto.Message)
	if err := r.arrived(ctx, info.FullMethod, message); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func (r *Replica) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := r.arrived(stream.Context(), info.FullMethod, nil); err != nil {
		return err
	}
	return handle(srv, stream)
}

func (r *Replica) arrived(ctx context.Context, method string, req proto.Message) (err error) {
	call := Call{Replica: r.Address, Method: path.Base(method), Request: req}
	if project := metadata.ValueFromIncomingContext(ctx, "x-project"); len(project) > 0 {
		call.Project = project[0]
	}
	r.cluster.change(func() {
		r.cluster.calls = append(r.cluster.calls, call)
		err = r.cluster.refusals[call.Method]
	})
	if r.silent.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// WatchTask sends the task now and whenever it has changed.
func (c conductor) WatchTask(req *conductorv1.GetRequest, stream conductorv1.Streams_WatchTaskServer) error {
	for sent := int64(-1); ; {
		c.mu.Lock()
		changed, t := c.changed, proto.CloneOf(c.findTask(req.GetId()))
		c.mu.Unlock()
		if t == nil {
			return vm.Refuse(vm.ReasonNotFound, "cannot find a task %q", req.GetId())
		}
		if t.GetRevision() != sent && !c.replica.silent.Load() {
			if err := stream.Send(t); err != nil {
				return err
			}
			sent = t.GetRevision()
		}
		if vm.TaskStatus(t.GetStatus()).Terminal() {
			return nil
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// Events sends what has happened from a revision on, and then what happens.
func (c conductor) Events(req *conductorv1.EventsRequest, stream conductorv1.Streams_EventsServer) error {
	instance, at, err := c.seat(req)
	if err != nil {
		return err
	}
	for {
		c.mu.Lock()
		changed, all := c.changed, slices.Clone(c.events)
		c.mu.Unlock()
		for ; at < len(all) && !c.replica.silent.Load(); at++ {
			if instance != "" && all[at].GetInstance() != instance {
				continue
			}
			if err := stream.Send(all[at]); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// seat is where somebody who follows begins: whose events, and with which.
func (c conductor) seat(req *conductorv1.EventsRequest) (instance string, at int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ref := req.GetInstance(); ref != "" {
		i := c.find(ref)
		if i == nil {
			return "", 0, unknown(ref)
		}
		instance = i.GetId()
	}
	from := req.GetFromRevision()
	if from == 0 {
		return instance, len(c.events), nil
	}
	if from <= c.forgotten {
		return "", 0, vm.Refuse(vm.ReasonTooLate, "cannot send events from revision %d: this conductor knows those after %d",
			from, c.forgotten)
	}
	for at < len(c.events) && c.events[at].GetRevision() < from {
		at++
	}
	return instance, at, nil
}

// Console greets and says again what it hears, until it hears "logout\n" or its client stops sending.
func (c conductor) Console(stream conductorv1.Streams_ConsoleServer) error {
	opening, err := stream.Recv()
	if err != nil {
		return err
	}
	c.mu.Lock()
	i := c.find(opening.GetInstance())
	c.mu.Unlock()
	if i == nil {
		return unknown(opening.GetInstance())
	}
	say := func(data []byte) error { return stream.Send(&conductorv1.ConsoleOutput{Data: data}) }
	if err := say([]byte(i.GetName() + " login: ")); err != nil {
		return err
	}
	for {
		heard, err := stream.Recv()
		if err != nil || string(heard.GetData()) == "logout\n" {
			return nil //nolint:nilerr // a client that leaves is no failure
		}
		if err := say(heard.GetData()); err != nil {
			return err
		}
	}
}
