package integration_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"leasehold/integration/cluster"
	"leasehold/vm"
)

// story is one kind of task with the state it begins in and the one it must come to, whoever dies in between.
type story struct {
	verb  vm.Verb
	from  vm.State // empty: there is no instance yet
	order cluster.Order
	to    vm.State
	runs  bool // the machine executes afterwards
}

var stories = []story{
	{verb: vm.Create, to: vm.Active, runs: true},
	{verb: vm.Stop, from: vm.Active, order: cluster.Order{Force: true}, to: vm.Stopped},
	{verb: vm.Start, from: vm.Stopped, to: vm.Active, runs: true},
	{verb: vm.Reboot, from: vm.Active, order: cluster.Order{Hard: true}, to: vm.Active, runs: true},
	{verb: vm.Pause, from: vm.Active, to: vm.Paused},
	{verb: vm.Unpause, from: vm.Paused, to: vm.Active, runs: true},
	{verb: vm.Suspend, from: vm.Active, to: vm.Suspended},
	{verb: vm.Resume, from: vm.Suspended, to: vm.Active, runs: true},
	{verb: vm.Rescue, from: vm.Active, to: vm.Rescued, runs: true},
	{verb: vm.Unrescue, from: vm.Rescued, to: vm.Active, runs: true},
	{verb: vm.Rebuild, from: vm.Active, to: vm.Active, runs: true},
	{verb: vm.Snapshot, from: vm.Active, to: vm.Active, runs: true},
	{verb: vm.SetPassword, from: vm.Active, to: vm.Active, runs: true},
	{verb: vm.Delete, from: vm.Active, to: vm.Deleted},
}

// recorder notes every point that one task passes, of conductors and agents.
type recorder struct {
	mu     sync.Mutex
	verb   vm.Verb // empty while nothing is recorded
	points []string
}

func (r *recorder) point(_, point string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verb != "" && relevant(r.verb, point) {
		r.points = append(r.points, point)
	}
}

// relevant leaves out what the task does not do: sessions, registrations, observations, and the last line of a task before
// it, which has ended when its transaction has.
func relevant(verb vm.Verb, point string) bool {
	name, ok := strings.CutPrefix(point, "txn:")
	return !ok || strings.HasPrefix(name, string(verb)+".")
}

func (r *recorder) record(verb vm.Verb, f func()) []string {
	r.mu.Lock()
	r.verb, r.points = verb, nil
	r.mu.Unlock()
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verb = ""
	return slices.Clone(r.points)
}

// TestCrashMatrix kills, for every kind of task, the conductor before and after each of its transactions and agent calls,
// and the agent before and after each of its journal writes and driver calls. The points are those that an uninjured run
// passes. Each time the task must come to its right end, once, and P1, P2, P5 and P6 must hold.
func TestCrashMatrix(t *testing.T) {
	rec := &recorder{}
	c := cluster.Start(t, cluster.Options{Conductors: 3, Computes: 2, Point: rec.point})
	hit := map[string]int{}
	recorded := map[string]int{}
	n := 0
	for _, s := range stories {
		var instance string
		if s.from != "" {
			instance = c.Make(fmt.Sprintf("%s-plain", s.verb), s.from)
		}
		points := rec.record(s.verb, func() { s.run(t, c, instance, fmt.Sprintf("%s-plain", s.verb), nil) })
		require.NotEmpty(t, points)
		seen := map[string]int{}
		for _, p := range points {
			seen[p]++
			recorded[string(s.verb)]++
			n++
			name := fmt.Sprintf("%s-%d", s.verb, n)
			nth := seen[p]
			t.Run(fmt.Sprintf("%s/%s/%d", s.verb, p, nth), func(t *testing.T) {
				c := c.For(t)
				var instance string
				if s.from != "" {
					instance = c.Make(name, s.from)
				}
				trap := c.Trap("", p, nth)
				s.run(t, c, instance, name, trap)
				select {
				case <-trap.Sprung():
					hit[string(s.verb)]++
				default:
					t.Fatalf("the run did not come to %s for the %d. time", p, nth)
				}
				trap.Thaw()
				c.Mend()
			})
		}
	}
	c.AwaitQuiet()
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "kind\tpoints recorded\tkilled at")
	for _, kind := range slices.Sorted(maps.Keys(recorded)) {
		fmt.Fprintf(w, "%s\t%d\t%d\n", kind, recorded[kind], hit[kind])
		require.Equal(t, recorded[kind], hit[kind], "every recorded point of %s must be hit", kind)
	}
	require.NoError(t, w.Flush())
}

// run sends the order, mends what the trap killed, and checks the end.
func (s story) run(t *testing.T, c *cluster.Cluster, instance, name string, trap *cluster.Trap) {
	t.Helper()
	o := s.order
	o.Verb, o.Instance, o.Name = s.verb, instance, name
	if trap != nil {
		stop := make(chan struct{})
		var mender sync.WaitGroup
		mender.Go(func() {
			select {
			case <-trap.Sprung():
				c.RestartComputes()
			case <-stop:
			}
		})
		defer mender.Wait()
		defer close(stop)
	}
	answer := c.Send(o)
	task := c.AwaitTask(answer.GetTask().GetId())
	require.Equal(t, vm.TaskSucceeded, task.Status, "%+v", task.Error)
	id := answer.GetInstance().GetId()
	in := c.Instance(id)
	host, executes := c.Executing()[vm.InstanceID(id)]
	require.Equal(t, s.runs, executes, "whether it executes")
	if s.to == vm.Deleted {
		require.Nil(t, in)
	} else {
		require.Equal(t, s.to, in.State)
		require.Empty(t, in.Task)
		require.Empty(t, in.TaskState)
		if executes {
			require.Equal(t, string(in.Host), host)
		}
	}
	c.CheckInvariants()
	c.CheckWorld()
}
