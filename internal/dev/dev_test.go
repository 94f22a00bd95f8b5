package dev_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/internal/dev"
)

const deadline = time.Minute

// running is a cluster of fakes in the background.
type running struct {
	cfg  dev.Config
	out  *buffer
	stop context.CancelFunc
	done chan error
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func fakes(t *testing.T) dev.Config {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return dev.Config{
		Conductor: self, Compute: self, Dir: filepath.Join(t.TempDir(), "cluster"), Temporary: true,
		Conductors: 2, Computes: 2, Prefix: "/leasehold",
	}
}

func start(t *testing.T, cfg dev.Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // end waits for it
	r := &running{cfg: cfg, out: &buffer{}, stop: cancel, done: make(chan error, 1)}
	r.cfg.Out = r.out
	go func() { r.done <- dev.Run(ctx, r.cfg) }()
	t.Cleanup(func() { cancel() })
	return r
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		return err
	case <-time.After(deadline):
		t.Fatal("the cluster did not stop")
		return nil
	}
}

// until waits for a state of the cluster.
func (r *running) until(t *testing.T, reached func(dev.State) bool) dev.State {
	t.Helper()
	var s dev.State
	require.Eventually(t, func() bool {
		var err error
		s, err = dev.Read(r.cfg.Dir)
		return err == nil && reached(s)
	}, deadline, 10*time.Millisecond, r.out.String())
	return s
}

func ready(s dev.State) bool { return s.Ready }

func TestProcessesStartInOrderAndStopInReverse(t *testing.T) {
	log := newLog(t)
	r := start(t, fakes(t))
	s := r.until(t, ready)
	require.Len(t, s.Conductors, 2)
	require.Len(t, s.Computes, 2)
	require.Equal(t, "fake (it is a test)", s.Driver)
	require.Equal(t, os.Getpid(), s.PID)
	require.NoError(t, r.end(t))

	did := deeds(t, log)
	before := func(first, second string) {
		t.Helper()
		a, b := slices.Index(did, first), slices.Index(did, second)
		require.True(t, a >= 0 && b > a, "%s is not before %s: %v", first, second, did)
	}
	for _, c := range []string{"c1", "c2"} {
		before("start-etcd", "start-"+c)
		before("stop-"+c, "stop-etcd")
		for _, h := range []string{"h1", "h2"} {
			before("start-"+c, "start-"+h)
			before("stop-"+h, "stop-"+c)
		}
	}
	before("stop-etcd", "purge-compute")
	require.NoDirExists(t, r.cfg.Dir)
	require.Contains(t, r.out.String(), "export LEASEHOLD_SERVER="+s.Conductors[0].Address+","+s.Conductors[1].Address)
}

func TestAPersistentDirectoryStaysWithItsMachines(t *testing.T) {
	log := newLog(t)
	cfg := fakes(t)
	cfg.Temporary = false
	r := start(t, cfg)
	r.until(t, ready)
	require.NoError(t, r.end(t))
	require.NotContains(t, deeds(t, log), "purge-compute")
	require.FileExists(t, filepath.Join(cfg.Dir, "logs", "c1.log"))
	require.NoFileExists(t, filepath.Join(cfg.Dir, dev.File))
}

func TestAChildThatDiesIsReportedAndStaysDead(t *testing.T) {
	newLog(t)
	r := start(t, fakes(t))
	victim := r.until(t, ready).Conductors[0]
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGKILL))
	s := r.until(t, func(s dev.State) bool { return s.Conductors[0].PID == 0 })
	require.NotZero(t, s.Conductors[1].PID)
	require.Contains(t, r.out.String(), "c1 (pid ")
	require.Contains(t, r.out.String(), "signal: killed")
	require.NoError(t, r.end(t))
}

func TestAChildThatDiesIsStartedAgainWhenAskedFor(t *testing.T) {
	newLog(t)
	cfg := fakes(t)
	cfg.Restart = true
	r := start(t, cfg)
	victim := r.until(t, ready).Conductors[1]
	require.NoError(t, syscall.Kill(victim.PID, syscall.SIGKILL))
	s := r.until(t, func(s dev.State) bool { return s.Conductors[1].PID != victim.PID })
	require.Equal(t, victim.Address, s.Conductors[1].Address)
	require.NoError(t, r.end(t))
}

func TestAChildThatCannotStartIsQuotedAndEverythingStops(t *testing.T) {
	log := newLog(t)
	cfg := fakes(t)
	cfg.ComputeArgs = []string{"--broken"}
	r := start(t, cfg)
	var err error
	select {
	case err = <-r.done:
	case <-time.After(deadline):
		t.Fatal("it did not give up")
	}
	require.ErrorContains(t, err, "this flag breaks it")
	require.ErrorContains(t, err, "exit status 3")
	require.Contains(t, deeds(t, log), "stop-etcd")
	require.DirExists(t, filepath.Join(cfg.Dir, "logs"), "the logs of a failure are kept")
}

func TestABusyPortIsRefusedWithAWayOut(t *testing.T) {
	newLog(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	cfg := fakes(t)
	cfg.GRPCPort, cfg.Out = busy.Addr().(*net.TCPAddr).Port, &buffer{}
	require.ErrorContains(t, dev.Run(t.Context(), cfg), "--grpc-port")
}

func TestTwoClustersDoNotShareADirectory(t *testing.T) {
	newLog(t)
	r := start(t, fakes(t))
	r.until(t, ready)
	cfg := r.cfg
	cfg.Out = &buffer{}
	require.ErrorContains(t, dev.Run(t.Context(), cfg), "another process")
	require.NoError(t, r.end(t))
}
