package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// patience bounds every wait; a healthy run never comes near it.
const patience = 20 * time.Second

// host is an agent under test with the conductor it registers with and a client that plays conductors.
type host struct {
	t         *testing.T
	dir       string
	cfg       agent.Config
	hyp       *hypervisor
	conductor *conductor
	points    *points
	agent     *agent.Agent
	address   string
	client    computev1.ComputeClient
	stop      func() error // ends Run and closes; idempotent
}

// newHost starts an agent and waits until it is active.
func newHost(t *testing.T, change ...func(*agent.Config)) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), hyp: newHypervisor(t), conductor: newConductor(t), points: newPoints(t)}
	h.cfg = agent.Config{
		Host: "h1", Driver: h.hyp, Conductors: []string{h.conductor.address}, Point: h.points.pass,
		BootID: "boot-1", FenceGrace: 50 * time.Millisecond,
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.start()
	return h
}

// start runs an agent on h.dir until the test ends, or stop.
func (h *host) start() {
	h.t.Helper()
	h.boot()
	h.conductor.next(h.t, "activate")
}

// boot is start without waiting for the registration.
func (h *host) boot() {
	h.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.t, err)
	cfg := h.cfg
	cfg.DataDir, cfg.Listener = h.dir, listener
	a, err := agent.New(h.t.Context(), cfg)
	if err != nil {
		require.NoError(h.t, errors.Join(err, listener.Close()))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(h.t, err)
	h.agent, h.address, h.client = a, listener.Addr().String(), computev1.NewComputeClient(conn)
	h.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		return errors.Join(err, a.Close(), conn.Close())
	})
	stop, points := h.stop, h.points
	h.t.Cleanup(func() {
		points.release()
		h.hyp.releaseAll()
		_ = stop()
	})
}

// restart ends the agent in good order and starts its successor.
func (h *host) restart() {
	h.t.Helper()
	require.NoError(h.t, h.stop())
	h.start()
}

// kill starts a successor on what is on the disk at this instant, as after a SIGKILL: a copy of the directory, without
// anything that the predecessor still has in memory. The machines are the same.
func (h *host) kill() {
	h.t.Helper()
	dir := h.t.TempDir()
	for _, name := range []string{"journal", "key"} {
		content, err := os.ReadFile(filepath.Join(h.dir, name))
		require.NoError(h.t, err)
		require.NoError(h.t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	h.dir = dir
	h.points = newPoints(h.t)
	h.cfg.Point = h.points.pass
	h.start()
}

// run makes a Run and waits for its result.
func (h *host) run(req *computev1.RunRequest) (*computev1.StepResult, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.follow(ctx, req, nil)
}

// follow makes a Run and tells progress of each report.
func (h *host) follow(ctx context.Context, req *computev1.RunRequest, progress func(*computev1.StepProgress)) (*computev1.StepResult, error) {
	stream, err := h.client.Run(ctx, req)
	if err != nil {
		return nil, rpc.FromStatus(err)
	}
	var result *computev1.StepResult
	for {
		update, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return result, nil
		case err != nil:
			return nil, rpc.FromStatus(err)
		case update.GetResult() != nil:
			result = update.GetResult()
		case progress != nil:
			progress(update.GetProgress())
		}
	}
}

// answer is the result of a call made beside the test.
type answer[T any] struct {
	value T
	err   error
}

func beside[T any](call func() (T, error)) <-chan answer[T] {
	c := make(chan answer[T], 1)
	go func() {
		value, err := call()
		c <- answer[T]{value, err}
	}()
	return c
}

func (h *host) runBeside(req *computev1.RunRequest) <-chan answer[*computev1.StepResult] {
	return beside(func() (*computev1.StepResult, error) { return h.run(req) })
}

// await is the value that comes out of c in time.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case value := <-c:
		return value
	case <-time.After(patience):
		require.FailNow(t, "waited in vain for "+what)
		panic("unreachable")
	}
}

// done demands that a step succeeded.
func (h *host) done(req *computev1.RunRequest) *computev1.StepResult {
	h.t.Helper()
	result, err := h.run(req)
	require.NoError(h.t, err)
	require.Equal(h.t, "done", result.GetOutcome(), result.GetMessage())
	return result
}

// refused demands that a command was refused with the reason.
func (h *host) refused(want vm.Reason, req *computev1.RunRequest) {
	h.t.Helper()
	_, err := h.run(req)
	requireReason(h.t, want, err)
}

func requireReason(t *testing.T, want vm.Reason, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, vm.ReasonOf(err), err.Error())
}

func (h *host) fence(req *computev1.FenceRequest) (*computev1.Observation, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	obs, err := h.client.Fence(ctx, req)
	return obs, rpc.FromStatus(err)
}

func (h *host) fenced(req *computev1.FenceRequest) *computev1.Observation {
	h.t.Helper()
	obs, err := h.fence(req)
	require.NoError(h.t, err)
	return obs
}

func (h *host) stats() *computev1.StatsResponse {
	h.t.Helper()
	stats, err := h.client.Stats(h.t.Context(), &computev1.StatsRequest{})
	require.NoError(h.t, err)
	return stats
}

func (h *host) observe(id vm.InstanceID) *computev1.Observation {
	h.t.Helper()
	obs, err := h.client.Observe(h.t.Context(), &computev1.ObserveRequest{InstanceId: string(id)})
	require.NoError(h.t, err)
	return obs
}

// points holds goroutines at crash points until the test lets them go.
type points struct {
	mu     sync.Mutex
	seen   []string
	holds  map[string]*hold
	opened bool
}

type hold struct {
	reached chan struct{} // has a token for each goroutine that came
	open    chan struct{}
}

func newPoints(t *testing.T) *points {
	t.Helper()
	return &points{holds: map[string]*hold{}}
}

func (p *points) pass(name string) {
	p.mu.Lock()
	p.seen = append(p.seen, name)
	h := p.holds[name]
	opened := p.opened
	p.mu.Unlock()
	if h == nil || opened {
		return
	}
	h.reached <- struct{}{}
	<-h.open
}

// hold stops whoever comes to the point from now on, until let.
func (p *points) hold(name string) *hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &hold{reached: make(chan struct{}, 100), open: make(chan struct{})}
	p.holds[name] = h
	return h
}

// let opens a point for all.
func (p *points) let(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.holds[name]; h != nil {
		close(h.open)
		delete(p.holds, name)
	}
}

func (p *points) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = true
	for name, h := range p.holds {
		close(h.open)
		delete(p.holds, name)
	}
}

// inOrder is the points that were reached so far.
func (p *points) inOrder() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// passed is the same, sorted and each once.
func (p *points) passed() []string {
	all := p.inOrder()
	slices.Sort(all)
	return slices.Compact(all)
}
