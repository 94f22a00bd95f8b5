package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/internal/invariant"
	"leasehold/tasks"
	"leasehold/vm"
)

// Patience is how long a test waits for anything. It is long because a loaded machine is slow; nothing waits it out.
const Patience = 90 * time.Second

// Options of a cluster.
type Options struct {
	Conductors int
	Computes   int
	SessionTTL time.Duration // 4 s when zero
	HostTTL    time.Duration // 10 s when zero
	MaxTasks   int
	Unreach    time.Duration // see conductor.Config.Unreachable
	Kinds      map[vm.Verb]tasks.Kind
	Point      func(who, point string) // called at every point of every process, after Freeze was served
	Etcd       *coordtest.Server       // coordtest.Shared when nil
}

// Cluster is one store prefix with its conductors and hosts.
type Cluster struct {
	t testing.TB
	*shared
}

// shared is what all views of one cluster have in common.
type shared struct {
	opts   Options
	Etcd   *coordtest.Server
	Keys   coord.Keys
	Store  *coord.Store
	prefix string
	dir    string
	world  string
	log    hclog.Logger

	mu         sync.Mutex
	conductors []*Conductor
	computes   []*Compute
	traps      []*Trap
	conns      map[string]*grpc.ClientConn
	seats      map[string]*seat
}

// Start runs a cluster until the test ends and waits until every host is schedulable.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.SessionTTL == 0 {
		o.SessionTTL = 4 * time.Second
	}
	if o.Etcd == nil {
		o.Etcd = coordtest.Shared(t)
	}
	keys := o.Etcd.Keys(t)
	c := &Cluster{t: t, shared: &shared{
		opts: o, Etcd: o.Etcd, Keys: keys, prefix: keys.Prefix(), dir: t.TempDir(), log: logger(),
		conns: map[string]*grpc.ClientConn{}, seats: map[string]*seat{},
	}}
	c.world = c.dir + "/world"
	require.NoError(t, os.MkdirAll(c.world, 0o755))
	c.Store = coord.NewStore(coord.Config{Client: o.Etcd.Client(t), Keys: keys})
	t.Cleanup(c.stop)
	for i := range o.Conductors {
		c.StartConductor(fmt.Sprintf("c%d", i+1))
	}
	for i := range o.Computes {
		c.StartCompute(fmt.Sprintf("h%d", i+1))
	}
	c.AwaitReady()
	return c
}

// For is the same cluster, failing another test: a subtest.
func (c *Cluster) For(t testing.TB) *Cluster {
	t.Helper()
	return &Cluster{t: t, shared: c.shared}
}

// Mend starts every killed conductor again, so that each test of a matrix begins with as many. It has its old name and
// address: a host knows those that it was started with, and in a long matrix would be left without a single one.
func (c *Cluster) Mend() {
	c.t.Helper()
	for i := range c.opts.Conductors {
		if name := fmt.Sprintf("c%d", i+1); c.Conductor(name) == nil {
			c.StartConductor(name)
		}
	}
	c.RestartComputes()
	c.AwaitReady()
}

// RestartComputes starts the agent of every killed host again.
func (c *Cluster) RestartComputes() {
	c.mu.Lock()
	var down []*Compute
	for _, x := range c.computes {
		if x.dead() && !x.replaced {
			x.replaced = true
			down = append(down, x)
		}
	}
	c.mu.Unlock()
	for _, x := range down {
		x.Restart()
	}
}

// logger writes what the processes say when LEASEHOLD_TEST_LOG names a level.
func logger() hclog.Logger {
	level := os.Getenv("LEASEHOLD_TEST_LOG")
	if level == "" {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(level), TimeFormat: "15:04:05.000"})
}

// AwaitReady waits until the store is seeded, every conductor has a session and every host is alive.
func (c *Cluster) AwaitReady() {
	c.t.Helper()
	c.mu.Lock()
	var want []string
	for _, x := range c.conductors {
		if !x.dead() {
			want = append(want, c.Keys.AliveConductor(vm.ConductorName(x.Name)))
		}
	}
	for _, x := range c.computes {
		if !x.dead() {
			want = append(want, c.Keys.AliveCompute(vm.HostName(x.Name)))
		}
	}
	c.mu.Unlock()
	for _, key := range append(want, c.Keys.Store()) {
		c.Await("key "+key, func() bool { _, err := c.Store.Get(c.t.Context(), key); return err == nil })
	}
}

// Await polls until ok, or fails the test. It is for what no event tells a test; the pause is not a wait for time to pass.
func (c *Cluster) Await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			c.t.Fatalf("%s did not happen within %v\n%s", what, Patience, c.Dump())
		case <-tick.C:
		}
	}
}

// Conductor returns a conductor by name.
func (c *Cluster) Conductor(name string) *Conductor {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.conductors, func(x *Conductor) bool { return x.Name == name && !x.dead() })
	if i < 0 {
		return nil
	}
	return c.conductors[i]
}

// Compute returns a host by name.
func (c *Cluster) Compute(name string) *Compute {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.computes, func(x *Compute) bool { return x.Name == name && !x.dead() })
	if i < 0 {
		return nil
	}
	return c.computes[i]
}

// Living are the names of the conductors that are not killed.
func (c *Cluster) Living() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, x := range c.conductors {
		if !x.dead() {
			names = append(names, x.Name)
		}
	}
	return names
}

// Client talks to one conductor.
func (c *Cluster) Client(name string) conductorv1.ConductorClient {
	c.t.Helper()
	x := c.Conductor(name)
	require.NotNil(c.t, x, "no living conductor %s", name)
	return conductorv1.NewConductorClient(c.conn(x.Address))
}

// Agents talks to one conductor as hosts do.
func (c *Cluster) Agents(name string) conductorv1.ClusterClient {
	c.t.Helper()
	x := c.Conductor(name)
	require.NotNil(c.t, x, "no living conductor %s", name)
	return conductorv1.NewClusterClient(c.conn(x.Address))
}

// conn is a connection that is closed with the cluster.
func (c *Cluster) conn(address string) *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.conns[address]; conn != nil {
		return conn
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(
		grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 2, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		panic(fmt.Sprintf("cannot dial %s: %v", address, err)) // an address of our own
	}
	c.conns[address] = conn
	return conn
}

// Instance reads an instance's record from etcd; nil when there is none.
func (c *Cluster) Instance(id string) *vm.Instance {
	return read[vm.Instance](c, c.Keys.Instance(vm.InstanceID(id)))
}

// Task reads a task from etcd, open or closed; nil when there is none.
func (c *Cluster) Task(id string) *vm.Task {
	if t := read[vm.Task](c, c.Keys.Task(vm.TaskID(id))); t != nil {
		return t
	}
	return read[vm.Task](c, c.Keys.History(vm.TaskID(id)))
}

// AliveConductor reads a conductor's alive key; nil when it has no session.
func (c *Cluster) AliveConductor(name string) *vm.AliveConductor {
	return read[vm.AliveConductor](c, c.Keys.AliveConductor(vm.ConductorName(name)))
}

// AliveCompute reads a host's alive key; nil when it is down.
func (c *Cluster) AliveCompute(name string) *vm.AliveCompute {
	return read[vm.AliveCompute](c, c.Keys.AliveCompute(vm.HostName(name)))
}

// Observed reads what was last seen of an instance; nil when nothing was.
func (c *Cluster) Observed(id string) *vm.Observed {
	return read[vm.Observed](c, c.Keys.Observed(vm.InstanceID(id)))
}

func read[T any](c *Cluster, key string) *T {
	kv, err := c.Store.Get(context.WithoutCancel(c.t.Context()), key)
	if err != nil {
		return nil
	}
	v := new(T)
	if err := kv.Decode(v); err != nil {
		c.t.Errorf("cannot read %s: %v", key, err)
		return nil
	}
	return v
}

// AwaitTask waits until a task has ended and returns it.
func (c *Cluster) AwaitTask(id string) *vm.Task {
	c.t.Helper()
	var task *vm.Task
	c.Await("the end of task "+id, func() bool {
		task = c.Task(id)
		return task != nil && task.Status.Terminal()
	})
	return task
}

// Instances are all instances on record.
func (c *Cluster) Instances() []*vm.Instance {
	c.t.Helper()
	page, err := c.Store.List(context.WithoutCancel(c.t.Context()), c.Keys.Table(coord.Instances), "", 0, false)
	require.NoError(c.t, err)
	var out []*vm.Instance
	for _, kv := range page.KVs {
		in := new(vm.Instance)
		require.NoError(c.t, kv.Decode(in))
		out = append(out, in)
	}
	return out
}

// Snapshot is every live key, as the invariant checker wants it.
func (c *Cluster) Snapshot() []coord.KV {
	c.t.Helper()
	page, err := c.Store.List(context.WithoutCancel(c.t.Context()), c.Keys.Root(), "", 0, false)
	require.NoError(c.t, err)
	return page.KVs
}

// CheckInvariants fails the test when a promise about the records does not hold.
func (c *Cluster) CheckInvariants() {
	c.t.Helper()
	records := make([]invariant.Record, 0)
	for _, kv := range c.Snapshot() {
		records = append(records, invariant.Record{Key: kv.Key[len(c.Keys.Root()):], Value: kv.Value, Lease: kv.Lease})
	}
	for _, v := range invariant.Check(records) {
		c.t.Errorf("%s: %s", v.Promise, v.Message)
	}
}

// AwaitQuiet waits until no task is open, and checks that nothing is held by anything (P6).
func (c *Cluster) AwaitQuiet() {
	c.t.Helper()
	c.Await("no open task", func() bool {
		page, err := c.Store.List(c.t.Context(), c.Keys.Table(coord.Tasks), "", 1, false)
		return err == nil && len(page.KVs) == 0
	})
	for _, t := range []coord.Table{coord.Claims, coord.Locks, coord.Cancels, coord.Queue} {
		page, err := c.Store.List(c.t.Context(), c.Keys.Table(t), "", 0, false)
		require.NoError(c.t, err)
		for _, kv := range page.KVs {
			c.t.Errorf("P6: no task is open and %s is left: %s", kv.Key, kv.Value)
		}
	}
	c.CheckInvariants()
	c.CheckWorld()
}

// Dump is every live record, for a failed test's output.
func (c *Cluster) Dump() string {
	var out strings.Builder
	page, err := c.Store.List(context.WithoutCancel(c.t.Context()), c.Keys.Root(), "", 0, false)
	if err != nil {
		return err.Error()
	}
	for _, kv := range page.KVs {
		var v json.RawMessage = kv.Value
		fmt.Fprintf(&out, "%s %s\n", kv.Key, v)
	}
	return out.String()
}

func (c *Cluster) stop() {
	c.mu.Lock()
	for _, t := range c.traps {
		t.Thaw()
	}
	conductors, computes := slices.Clone(c.conductors), slices.Clone(c.computes)
	c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	var stopping sync.WaitGroup
	for _, x := range conductors {
		stopping.Go(x.stop)
	}
	stopping.Wait()
	for _, x := range computes {
		x.stop()
	}
}
