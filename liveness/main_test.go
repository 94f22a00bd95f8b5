package liveness_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/internal/netfault"
	"leasehold/liveness"
	"leasehold/vm"
)

// soon is how long a test waits for what should take a moment.
const soon = 30 * time.Second

type run func() int

func (r run) Run() int { return r() }

func TestMain(m *testing.M) {
	if os.Getenv(childName) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(run(func() int { return coordtest.Main(m) }))
}

// world is one store with what every test needs of it.
type world struct {
	server *coordtest.Server
	client *clientv3.Client
	keys   coord.Keys
	store  *coord.Store
}

func newWorld(t *testing.T) world {
	t.Helper()
	s := coordtest.Shared(t)
	w := world{server: s, client: s.Client(t), keys: s.Keys(t)}
	w.store = coord.NewStore(coord.Config{Client: w.client, Keys: w.keys})
	return w
}

func (w world) config(name vm.ConductorName, address string) liveness.SessionConfig {
	return liveness.SessionConfig{
		Client: w.client, Store: w.store, Name: name, Address: address, Version: "test", TTL: time.Minute, Dial: dial,
	}
}

func (w world) cache(t *testing.T) *coord.Cache {
	t.Helper()
	return coord.NewCache(w.client, w.keys, hclog.NewNullLogger())
}

// leaseOf is the lease that a conductor's alive key hangs on, read from etcd; 0 when there is none.
func (w world) leaseOf(t *testing.T, name vm.ConductorName) int64 {
	t.Helper()
	kv, err := w.store.Get(t.Context(), w.keys.AliveConductor(name))
	if err != nil {
		require.ErrorIs(t, err, coord.ErrNotFound)
	}
	return kv.Lease
}

// proxied is a client that reaches the store through a proxy.
func (w world) proxied(t *testing.T) (*clientv3.Client, *netfault.Proxy) {
	t.Helper()
	p := proxyTo(t, strings.TrimPrefix(w.server.Endpoint, "http://"))
	c, err := coord.Dial([]string{"http://" + p.Addr()}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, p
}

func proxyTo(t *testing.T, target string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.New(target)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// cluster is a conductor's Cluster service as far as peers see it.
type cluster struct {
	conductorv1.UnimplementedClusterServer
	liveness.PeerServer
}

func (c *cluster) Peer(req *conductorv1.PeerRequest, stream grpc.ServerStreamingServer[conductorv1.PeerResponse]) error {
	return c.ServePeer(req, stream)
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// serve answers peers for a keeper until the test ends.
func serve(t *testing.T, l net.Listener, k *liveness.Keeper) {
	t.Helper()
	g := grpc.NewServer()
	conductorv1.RegisterClusterServer(g, &cluster{PeerServer: liveness.PeerServer{Keeper: k}})
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
}

// start runs fn until the test ends, or the returned stop.
func start(t *testing.T, fn func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	var err error
	go func() { defer close(done); err = fn(ctx) }()
	stop = func() error { cancel(); <-done; return err }
	t.Cleanup(func() { _ = stop() })
	return stop
}

// keep runs a keeper that listens, and waits for its first session.
func keep(t *testing.T, cfg liveness.SessionConfig) (*liveness.Keeper, func() error) {
	t.Helper()
	l, err := listen()
	require.NoError(t, err)
	if cfg.Address == "" {
		cfg.Address = l.Addr().String()
	}
	k, err := liveness.NewKeeper(cfg)
	require.NoError(t, err)
	serve(t, l, k)
	stop := start(t, k.Run)
	eventually(t, "a session", func() bool { return k.Current() != nil })
	return k, stop
}

// observe runs Peers and its cache for a keeper.
func (w world) observe(t *testing.T, k *liveness.Keeper) (*liveness.Peers, *coord.Cache) {
	t.Helper()
	c := w.cache(t)
	p := liveness.NewPeers(liveness.PeersConfig{
		Keeper: k, Cache: c, Store: w.store, Client: w.client, Dial: dial, Log: hclog.NewNullLogger(),
	})
	coordtest.RunCache(t, c)
	start(t, p.Run)
	return p, c
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, soon, 10*time.Millisecond, what)
}

func closed(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(soon):
		require.Fail(t, "did not happen: "+what)
	}
}

// clock is a boottime that stands still until it is set.
type clock struct{ now, reads atomic.Int64 }

func (c *clock) read() time.Duration {
	c.reads.Add(1)
	return time.Duration(c.now.Load())
}

func (c *clock) set(d time.Duration) { c.now.Store(int64(d)) }

// The child is this test binary run again as one conductor: a process that a test can kill and stop.
const childName = "LEASEHOLD_TEST_CHILD"

type process struct {
	cmd     *exec.Cmd
	address string
	stdin   io.Closer
}

// spawn starts a conductor in a process of its own and waits for its session.
func (w world) spawn(t *testing.T, name vm.ConductorName, ttl time.Duration) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childName+"="+string(name), "ENDPOINT="+w.server.Endpoint,
		"PREFIX="+strings.TrimSuffix(w.keys.Root(), "/"), "TTL="+ttl.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd, stdin: in}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	p.address = strings.TrimSpace(line)
	eventually(t, "the child's session", func() bool { return w.leaseOf(t, name) != 0 })
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.stdin.Close()
}

// freeze stops the process; its kernel goes on answering for it.
func (p *process) freeze(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
}

// child lives until it is killed or its parent is gone.
func child() {
	fail := func(err error) {
		if err != nil {
			panic(fmt.Sprintf("child: %v", err))
		}
	}
	ttl, err := time.ParseDuration(os.Getenv("TTL"))
	fail(err)
	client, err := coord.Dial([]string{os.Getenv("ENDPOINT")}, nil)
	fail(err)
	keys, err := coord.NewKeys(os.Getenv("PREFIX"))
	fail(err)
	l, err := listen()
	fail(err)
	k, err := liveness.NewKeeper(liveness.SessionConfig{
		Client: client, Store: coord.NewStore(coord.Config{Client: client, Keys: keys}), Dial: dial,
		Name: vm.ConductorName(os.Getenv(childName)), Address: l.Addr().String(), TTL: ttl,
	})
	fail(err)
	g := grpc.NewServer()
	conductorv1.RegisterClusterServer(g, &cluster{PeerServer: liveness.PeerServer{Keeper: k}})
	go func() { _ = g.Serve(l) }()
	go func() { fail(k.Run(context.Background())) }()
	fmt.Fprintln(os.Stdout, l.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
}
