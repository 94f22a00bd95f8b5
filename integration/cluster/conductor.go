package cluster

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/conductor"
	"leasehold/internal/netfault"
	"leasehold/vm"
)

// Conductor is one replica with its own way to etcd, which can be cut.
type Conductor struct {
	Name    string
	Address string // gRPC
	HTTP    string
	Etcd    *netfault.Proxy
	Replica *conductor.Conductor

	ctx      context.Context //nolint:containedctx // the life of the process it plays
	cancel   context.CancelFunc
	done     chan struct{}
	err      error
	listener *guarded
	web      *guarded
	killed   sync.Once
	isDead   chan struct{}
}

// StartConductor starts a replica. A name may be used again once its last bearer was killed.
func (c *Cluster) StartConductor(name string) *Conductor {
	c.t.Helper()
	target, err := url.Parse(c.Etcd.Endpoint)
	require.NoError(c.t, err)
	proxy, err := netfault.New(target.Host)
	require.NoError(c.t, err)
	x := &Conductor{
		Name: name, Etcd: proxy, done: make(chan struct{}), isDead: make(chan struct{}),
		listener: listen(c.t), web: listen(c.t),
	}
	x.Address, x.HTTP = x.listener.Addr().String(), x.web.Addr().String()
	x.ctx, x.cancel = context.WithCancel(context.WithoutCancel(c.t.Context()))
	replica, err := conductor.New(conductor.Config{
		Name: vm.ConductorName(name), Version: "test", Endpoints: []string{proxy.Addr()}, Prefix: c.prefix,
		GRPC: x.listener, HTTP: x.web, SessionTTL: c.opts.SessionTTL, HostTTL: c.opts.HostTTL, MaxTasks: c.opts.MaxTasks,
		Grace: time.Second, Log: c.log.Named(name), Kinds: c.opts.Kinds,
		Point: func(point string) { c.reached(name, point, x.Kill) },
	})
	require.NoError(c.t, err)
	x.Replica = replica
	c.mu.Lock()
	c.conductors = append(c.conductors, x)
	c.mu.Unlock()
	go func() {
		defer close(x.done)
		x.err = replica.Run(x.ctx)
	}()
	return x
}

// Kill takes from the replica what a SIGKILL takes, at once: every connection and the listening address. Its goroutines
// are told to stop; one that is frozen in a trap does not hear of it.
func (x *Conductor) Kill() {
	x.killed.Do(func() {
		close(x.isDead)
		x.Etcd.Set(netfault.Cut)
		x.listener.hide()
		x.web.hide()
		x.cancel()
	})
}

// Isolate takes the replica's way to etcd and its own address away, and lets everything else go on: the process is seen as
// dead by its peers, thinks itself alive, and still reaches the agents.
func (x *Conductor) Isolate() {
	x.killed.Do(func() {
		close(x.isDead)
		x.Etcd.Set(netfault.BlackHole)
		x.listener.hide()
		x.web.hide()
	})
}

// Stop ends the replica cleanly and waits for it.
func (x *Conductor) Stop() error {
	x.killed.Do(func() { close(x.isDead) })
	x.cancel()
	<-x.done
	return x.err
}

func (x *Conductor) dead() bool {
	select {
	case <-x.isDead:
		return true
	default:
		return false
	}
}

func (x *Conductor) stop() {
	x.cancel()
	<-x.done
	x.Etcd.Close()
}

// guarded is a listener whose address and connections can all be taken away at once, without its server noticing.
type guarded struct {
	net.Listener
	mu     sync.Mutex
	conns  map[net.Conn]bool
	hidden bool
	once   sync.Once
	closed chan struct{}
}

func listen(t interface {
	require.TestingT
	Helper()
},
) *guarded {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return &guarded{Listener: l, conns: map[net.Conn]bool{}, closed: make(chan struct{})}
}

// Accept implements net.Listener. After hide it waits for Close.
func (g *guarded) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	g.mu.Lock()
	hidden := g.hidden
	if err == nil && !hidden {
		g.conns[c] = true
	}
	g.mu.Unlock()
	if !hidden {
		return c, err
	}
	if err == nil {
		_ = c.Close()
	}
	<-g.closed
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (g *guarded) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}

// hide makes the kernel refuse new connections and reset the old ones, as that of a dead process does.
func (g *guarded) hide() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hidden = true
	_ = g.Listener.Close()
	for c := range g.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}
