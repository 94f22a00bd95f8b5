package conductor

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"leasehold/api/compute/v1"
)

// keepConnection is how long a connection stays that no living host has the address of: much longer than the moment
// between asking for a client and calling it, and than a host's restart.
const keepConnection = time.Minute

// agents are the connections to host agents, one for each address, made when first needed.
type agents struct {
	creds credentials.TransportCredentials
	reach func(ctx context.Context, address string) (net.Conn, error)
	mu    sync.Mutex
	conns map[string]*connection
}

// connection knows whether anybody needs it. It is the stats.Handler of itself, for the calls that run.
type connection struct {
	*grpc.ClientConn
	wanted time.Time // when it was last asked for, or a living host had its address
	calls  atomic.Int64
}

func (a *agents) client(address string) (computev1.ComputeClient, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.conns[address]; ok {
		c.wanted = time.Now()
		return computev1.NewComputeClient(c), nil
	}
	own := &connection{wanted: time.Now()}
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(a.creds), grpc.WithContextDialer(a.reach),
		grpc.WithStatsHandler(own),
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
	own.ClientConn = c
	if a.conns == nil {
		a.conns = map[string]*connection{}
	}
	a.conns[address] = own
	return computev1.NewComputeClient(own), nil
}

// keep closes the connections that have had neither a living host nor a call for keepConnection.
func (a *agents) keep(living map[string]bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for address, c := range a.conns {
		switch {
		case living[address] || c.calls.Load() > 0: // closing it would cancel the call
			c.wanted = now
		case now.Sub(c.wanted) > keepConnection:
			_ = c.Close()
			delete(a.conns, address)
		}
	}
}

// HandleRPC counts the calls that have begun and not ended; a stream is one call.
func (c *connection) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.Begin:
		c.calls.Add(1)
	case *stats.End:
		c.calls.Add(-1)
	default:
	}
}

// TagRPC and the following complete the stats.Handler.
func (c *connection) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn adds nothing.
func (c *connection) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn counts nothing.
func (c *connection) HandleConn(context.Context, stats.ConnStats) {}

func (a *agents) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.conns = nil
}
