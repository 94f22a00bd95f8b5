package cluster

import (
	"context"
	"net"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"testing"
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
	c        *Cluster
	agents   way
	listener *guarded
	web      *guarded
	killed   sync.Once
	isDead   chan struct{}
}

// seat is where the conductors of one name listen, so that agents find them again.
type seat struct{ grpc, http string }

// StartConductor starts a replica. A name may be used again once its last bearer was killed; it keeps its addresses.
func (c *Cluster) StartConductor(name string) *Conductor {
	c.t.Helper()
	target, err := url.Parse(c.Etcd.Endpoint)
	require.NoError(c.t, err)
	proxy, err := netfault.New(target.Host)
	require.NoError(c.t, err)
	c.mu.Lock()
	known := c.seats[name]
	c.mu.Unlock()
	if known == nil {
		known = &seat{anyAddress, anyAddress}
	}
	x := &Conductor{
		Name: name, Etcd: proxy, c: c, done: make(chan struct{}), isDead: make(chan struct{}),
		listener: listen(c.t, known.grpc), web: listen(c.t, known.http),
	}
	x.Address, x.HTTP = x.listener.Addr().String(), x.web.Addr().String()
	x.ctx, x.cancel = context.WithCancel(context.WithoutCancel(c.t.Context()))
	replica, err := conductor.New(conductor.Config{
		Name: vm.ConductorName(name), Version: "test", Endpoints: []string{proxy.Addr()}, Prefix: c.prefix,
		GRPC: x.listener, HTTP: x.web, SessionTTL: c.opts.SessionTTL, HostTTL: c.opts.HostTTL, MaxTasks: c.opts.MaxTasks,
		Grace: time.Second, Log: c.log.Named(name), Kinds: c.opts.Kinds, Unreachable: c.opts.Unreach, Reach: x.agents.dial,
		Point: func(point string) { c.reached(name, point, x.Kill) },
	})
	require.NoError(c.t, err)
	x.Replica = replica
	c.mu.Lock()
	c.conductors = append(c.conductors, x)
	c.seats[name] = &seat{x.Address, x.HTTP}
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

// CutAgents takes the replica's way to the agents away, MendAgents gives it back.
func (x *Conductor) CutAgents() { x.agents.set(true) }

// MendAgents is the other half of CutAgents.
func (x *Conductor) MendAgents() { x.agents.set(false) }

// Bury waits until nothing of a dead replica runs any more and forgets it.
func (x *Conductor) Bury() {
	x.stop()
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.c.conductors = slices.DeleteFunc(x.c.conductors, func(y *Conductor) bool { return x == y })
}

// stop ends the replica and waits for it.
func (x *Conductor) stop() {
	x.cancel()
	<-x.done
	x.Etcd.Close()
}

// way is a conductor's way to all agents. When it is cut connections break and new ones are refused.
type way struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func (w *way) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = conn.Close()
		return nil, syscall.ECONNREFUSED
	}
	if w.conns == nil {
		w.conns = map[net.Conn]bool{}
	}
	w.conns[conn] = true
	return conn, nil
}

func (w *way) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for conn := range w.conns {
			_ = conn.Close()
		}
		clear(w.conns)
	}
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

// anyAddress is a free port on loopback.
const anyAddress = "127.0.0.1:0"

// listen waits for the address when its last bearer has not left it yet.
func listen(t testing.TB, address string) *guarded {
	t.Helper()
	var l net.Listener
	var err error
	for deadline := time.Now().Add(Patience); ; {
		if l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address); err == nil || time.Now().After(deadline) {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
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
