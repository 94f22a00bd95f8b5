package conductor

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"leasehold/api/compute/v1"
)

// agents are the connections to host agents, one for each address, made when first needed.
type agents struct {
	creds credentials.TransportCredentials
	reach func(ctx context.Context, address string) (net.Conn, error)
	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

func (a *agents) client(address string) (computev1.ComputeClient, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.conns[address]; ok {
		return computev1.NewComputeClient(c), nil
	}
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(a.creds), grpc.WithContextDialer(a.reach),
		// A step may run for hours: a black hole is found by pings, not by a deadline.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		// An agent that restarts is back within a second or two; gRPC's own backoff would look away for minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("cannot dial the agent at %s: %w", address, err)
	}
	if a.conns == nil {
		a.conns = map[string]*grpc.ClientConn{}
	}
	a.conns[address] = c
	return computev1.NewComputeClient(c), nil
}

func (a *agents) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.conns = nil
}
