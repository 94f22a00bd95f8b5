package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

// Compute is one simulated host: agent and driver.
type Compute struct {
	Name   string
	Driver *sim.Driver

	agent    *agent.Agent
	c        *Cluster
	dir      string
	copies   int
	boot     string          // id of the boot that it plays; empty for the kernel's
	ctx      context.Context //nolint:containedctx // the life of the process it plays
	cancel   context.CancelFunc
	done     chan struct{}
	err      error
	listener *guarded
	killed   sync.Once
	isDead   chan struct{}
	replaced bool // by a restart; guarded by the cluster
}

// roomy is room for every instance that a matrix makes and does not delete.
var roomy = vm.Size{VCPUs: 4096, MemoryMiB: 16 << 20, DiskGiB: 1 << 20}

// StartCompute starts a host with an empty directory.
func (c *Cluster) StartCompute(name string) *Compute {
	c.t.Helper()
	return c.startCompute(name, filepath.Join(c.dir, name), 0, "")
}

func (c *Cluster) startCompute(name, dir string, copies int, boot string) *Compute {
	c.t.Helper()
	x := &Compute{
		Name: name, c: c, dir: dir, copies: copies, boot: boot, done: make(chan struct{}), isDead: make(chan struct{}), listener: listen(c.t, anyAddress),
	}
	require.NoError(c.t, os.MkdirAll(filepath.Join(dir, "machines"), 0o755))
	point := func(p string) { c.reached(name, p, x.Kill) }
	driver, err := sim.New(sim.Config{
		Host: vm.HostName(name), Capacity: roomy, Fetch: agent.NewFetch(), Dir: filepath.Join(dir, "machines"), World: c.world, Log: c.log.Named(name + ".sim"),
	})
	require.NoError(c.t, err)
	x.Driver = driver
	a, err := agent.New(c.t.Context(), agent.Config{
		Host: vm.HostName(name), DataDir: filepath.Join(dir, "agent"), Driver: driver, Log: c.log.Named(name),
		Listener: x.listener, Conductors: c.addresses(), Point: point, BootID: boot,
	})
	require.NoError(c.t, err)
	x.agent = a
	x.ctx, x.cancel = context.WithCancel(context.WithoutCancel(c.t.Context()))
	c.mu.Lock()
	c.computes = append(c.computes, x)
	c.mu.Unlock()
	go func() {
		defer close(x.done)
		x.err = a.Run(x.ctx)
	}()
	return x
}

// addresses are those of all conductors that were ever started: agents try the next one when one is dead.
func (c *Cluster) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.seats)) {
		out = append(out, c.seats[name].grpc)
	}
	return out
}

// Kill takes from the agent what a SIGKILL takes: its connections, its hands and its memory. What it had on disk is copied
// as it is now, for Restart; what the frozen process writes later is written beside that copy.
func (x *Compute) Kill() {
	x.killed.Do(func() {
		close(x.isDead)
		x.listener.hide()
		_ = x.Driver.Close() // from here on it changes no machine
		if err := x.copy(); err != nil {
			panic(fmt.Sprintf("cannot copy the directory of host %s: %v", x.Name, err))
		}
		x.cancel()
	})
}

// copy is tried again when the agent's journal was replaced under it.
func (x *Compute) copy() error {
	var err error
	for range 10 {
		if err = os.RemoveAll(x.image()); err != nil {
			return err
		}
		if err = os.CopyFS(x.image(), os.DirFS(x.dir)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// Bury waits until nothing of a dead agent runs any more and forgets it and its directory.
func (x *Compute) Bury() {
	x.stop()
	x.c.mu.Lock()
	x.c.computes = slices.DeleteFunc(x.c.computes, func(y *Compute) bool { return x == y })
	x.c.mu.Unlock()
	_ = os.RemoveAll(x.dir)
}

func (x *Compute) image() string {
	return filepath.Join(x.c.dir, fmt.Sprintf("%s.%d", x.Name, x.copies+1))
}

// Restart starts the host's agent again from what was on disk when it was killed.
func (x *Compute) Restart() *Compute {
	x.c.t.Helper()
	require.True(x.c.t, x.dead(), "host %s lives", x.Name)
	return x.c.startCompute(x.Name, x.image(), x.copies+1, x.boot)
}

// PowerLoss ends the host with everything on it and starts it again, as another boot.
func (x *Compute) PowerLoss(boot string) *Compute {
	x.c.t.Helper()
	require.NoError(x.c.t, x.Driver.PowerLoss())
	x.Kill()
	x.c.mu.Lock()
	x.replaced = true
	x.c.mu.Unlock()
	return x.c.startCompute(x.Name, x.image(), x.copies+1, boot)
}

func (x *Compute) dead() bool {
	select {
	case <-x.isDead:
		return true
	default:
		return false
	}
}

func (x *Compute) stop() {
	x.cancel()
	<-x.done
	_ = x.agent.Close()
	_ = x.Driver.Close()
}

// Refused is how many commands the agent has refused because it knew a newer fence.
func (x *Compute) Refused() int64 {
	x.c.t.Helper()
	return x.Stats().GetRefusedFences()
}

// Stats is what the agent counts.
func (x *Compute) Stats() *computev1.StatsResponse {
	x.c.t.Helper()
	stats, err := computev1.NewComputeClient(x.c.conn(x.listener.Addr().String())).Stats(x.c.t.Context(), &computev1.StatsRequest{})
	require.NoError(x.c.t, err)
	return stats
}
