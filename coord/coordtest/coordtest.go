// Package coordtest starts a real embedded etcd for tests and counts what is written to it. It is the one place, beside
// the conductor command, where a test may start a store.
package coordtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"leasehold/coord"
)

// Server is one embedded etcd with fast timers.
type Server struct {
	Endpoint string // unix:/...
	etcd     *embed.Etcd
	dir      string
	prefixes atomic.Int64
}

// Options of a server.
type Options struct {
	Durable bool // fsync: for tests that prove durability
	TCP     bool // listen on a loopback port, so that proxies and other processes can reach it
}

// Start runs a server until Stop. One is enough for a package's tests: each takes a prefix of its own.
func Start(o Options) (*Server, error) {
	dir, err := os.MkdirTemp("", "lh-etcd-")
	if err != nil {
		return nil, fmt.Errorf("cannot start etcd: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.UnsafeNoFsync = !o.Durable
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	client := url.URL{Scheme: "unix", Path: filepath.Join(dir, "c")}
	if o.TCP {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		client = url.URL{Scheme: "http", Host: addr}
	}
	peer := url.URL{Scheme: "unix", Path: filepath.Join(dir, "p")}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		e.Close()
		return nil, fmt.Errorf("cannot start etcd: not ready after a minute")
	}
	return &Server{Endpoint: client.String(), etcd: e, dir: dir}, nil
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	s.etcd.Close()
	_ = os.RemoveAll(s.dir)
}

// RaftIndex counts entries in the raft log: the difference of two calls is what was written between them, reads, keep-alives
// and watches not included.
func (s *Server) RaftIndex() uint64 { return s.etcd.Server.CommittedIndex() }

// Client makes a client that is closed with the test.
func (s *Server) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := coord.Dial([]string{s.Endpoint}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Keys makes keys under a prefix that no other test has.
func (s *Server) Keys(t testing.TB) coord.Keys {
	t.Helper()
	k, err := coord.NewKeys(fmt.Sprintf("/t%d", s.prefixes.Add(1)))
	require.NoError(t, err)
	return k
}

// Compact drops every revision before the present one.
func (s *Server) Compact(t testing.TB) {
	t.Helper()
	c := s.Client(t)
	resp, err := c.Get(t.Context(), "x")
	require.NoError(t, err)
	_, err = c.Compact(t.Context(), resp.Header.Revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)
}

// CheckLeases fails the test when a key under a leased prefix hangs on no lease: an immortal lock. C4
func CheckLeases(t testing.TB, c *clientv3.Client, keys coord.Keys) {
	t.Helper()
	for _, table := range []coord.Table{coord.Claims, coord.Locks, coord.Alive} {
		resp, err := c.Get(t.Context(), keys.Table(table), clientv3.WithPrefix())
		require.NoError(t, err)
		for _, kv := range resp.Kvs {
			require.NotZero(t, kv.Lease, "%s hangs on no lease", kv.Key)
		}
	}
}

var shared struct {
	sync.Mutex
	server *Server
}

// Shared returns the one server of this test process, started at the first call. Main stops it.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := Start(Options{TCP: true})
		require.NoError(t, err)
		shared.server = s
	}
	return shared.server
}

// Main runs the tests of a package and then stops the shared server: use it as the body of TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Stop()
		shared.server = nil
	}
	return code
}

// RunCache starts a cache over keys and waits until it is filled. It ends with the test.
func RunCache(t testing.TB, c *coord.Cache) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-c.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the cache was not filled within 30 s")
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("cannot find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
