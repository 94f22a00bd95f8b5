package agent_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// generation is of the store in these tests, unless they change it.
const generation = 3

// conductor answers agents as a real one does: one epoch for each data directory and boot, a lease for each registration,
// heartbeats only for the last one and, once it is activated, for the generation it was made under. Every tombstone that
// it is told of is a verdict.
type conductor struct {
	conductorv1.UnimplementedClusterServer
	address string
	calls   chan string

	mu       sync.Mutex
	epoch    int64
	dataDir  string
	lease    int64 // 0 when it is lost
	active   bool
	ttl      time.Duration
	store    int64 // generation of the store
	known    int64 // the one that the host was told
	failing  error // what every call answers
	verdicts []*conductorv1.MachineVerdict
	orphans  []string // images without a record
	register []*conductorv1.RegisterRequest
}

func newConductor(t *testing.T) *conductor {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &conductor{address: listener.Addr().String(), calls: make(chan string, 10_000), epoch: 6, ttl: time.Minute, store: generation}
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(rpc.UnaryServer))
	conductorv1.RegisterClusterServer(srv, c)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Stop()
		require.NoError(t, <-served)
	})
	return c
}

func (c *conductor) set(change func(*conductor)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// next waits until the agent has made that call, and drops the calls before it.
func (c *conductor) next(t *testing.T, call string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-c.calls:
			if got == call {
				return
			}
		case <-deadline:
			require.FailNow(t, "the agent does not call "+call)
		}
	}
}

func (c *conductor) registered(t *testing.T) *conductorv1.RegisterRequest {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.NotEmpty(t, c.register)
	return c.register[len(c.register)-1]
}

func (c *conductor) Register(_ context.Context, req *conductorv1.RegisterRequest) (*conductorv1.RegisterResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing != nil {
		return nil, c.failing
	}
	if req.GetDataDirId() != c.dataDir || req.GetEpoch() != c.epoch {
		c.dataDir = req.GetDataDirId()
		c.epoch++
	}
	c.register = append(c.register, req)
	c.lease, c.active, c.known = int64(100+len(c.register)), false, c.store
	resp := &conductorv1.RegisterResponse{
		Epoch: c.epoch, Lease: c.lease, Ttl: durationpb.New(c.ttl), Generation: c.store, Verdicts: slices.Clone(c.verdicts),
		DropImages: slices.Clone(c.orphans),
	}
	for _, m := range req.GetMachines() {
		if m.GetTombstone() {
			resp.Verdicts = append(resp.Verdicts, &conductorv1.MachineVerdict{
				InstanceId: m.GetInstanceId(), Verdict: "destroy", Why: "the host has its tombstone", Tombstone: true,
				FenceGeneration: m.GetFenceGeneration(), FenceRevision: m.GetFenceRevision(),
			})
		}
	}
	c.calls <- "register"
	return resp, nil
}

func (c *conductor) Activate(_ context.Context, req *conductorv1.ActivateRequest) (*conductorv1.ActivateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing != nil {
		return nil, c.failing
	}
	if req.GetEpoch() != c.epoch || req.GetDataDirId() != c.dataDir || req.GetLease() != c.lease {
		return nil, vm.Refuse(vm.ReasonNotFound, "cannot activate: another registration came")
	}
	if req.GetAddress() == "" {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot activate a host without an address")
	}
	c.active = true
	c.calls <- "activate"
	return &conductorv1.ActivateResponse{}, nil
}

func (c *conductor) Heartbeat(_ context.Context, req *conductorv1.HeartbeatRequest) (*conductorv1.HeartbeatResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing != nil {
		c.calls <- "failed heartbeat"
		return nil, c.failing
	}
	holds := req.GetEpoch() == c.epoch && req.GetLease() == c.lease
	if req.GetRegistering() {
		return c.answer(holds, "registering heartbeat")
	}
	return c.answer(holds && c.active && c.known == c.store, "heartbeat")
}

// answer is that of a heartbeat. c.mu is held.
func (c *conductor) answer(holds bool, call string) (*conductorv1.HeartbeatResponse, error) {
	if !holds {
		c.calls <- "refused " + call
		return nil, vm.Refuse(vm.ReasonNotFound, "cannot renew: no such registration")
	}
	c.calls <- call
	return &conductorv1.HeartbeatResponse{Ttl: durationpb.New(c.ttl)}, nil
}
