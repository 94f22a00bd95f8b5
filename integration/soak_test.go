//go:build soak

package integration_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/integration/cluster"
	"leasehold/internal/netfault"
	"leasehold/vm"
)

const (
	soakSlots   = 30
	soakClients = 6
)

var soakHosts = []string{"h1", "h2", "h3"}

// soak is one run: clients that order verbs of instances at random, and faults.
type soak struct {
	t    *testing.T
	c    *cluster.Cluster
	ctx  context.Context //nolint:containedctx // ends with the time of the run
	seed uint64

	slots [soakSlots]slot

	mu       sync.Mutex
	accepted map[string]vm.Verb // tasks that were answered with success (P5)
	refused  map[vm.Reason]int
	stale    int64 // fences refused by agents that were killed since

	orders, faults atomic.Int64
}

// slot holds at most one instance; clients meet there.
type slot struct {
	mu sync.Mutex
	id string
}

// TestSoak has clients order whatever they like while conductors and agents are killed, stopped, cut off and started again,
// for as long as LEASEHOLD_SOAK says. Then everything must come to rest with every promise kept. LEASEHOLD_SOAK_SEED
// repeats the choices of a run, if not its timing.
func TestSoak(t *testing.T) {
	duration, seed := time.Minute, uint64(time.Now().UnixNano())
	if text := os.Getenv("LEASEHOLD_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		duration = d
	}
	if text := os.Getenv("LEASEHOLD_SOAK_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("LEASEHOLD_SOAK_SEED=%d LEASEHOLD_SOAK=%v", seed, duration)
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	s := &soak{
		t: t, ctx: ctx, seed: seed, accepted: map[string]vm.Verb{}, refused: map[vm.Reason]int{},
		c: cluster.Start(t, cluster.Options{
			Conductors: 3, Computes: len(soakHosts), SessionTTL: 3 * time.Second, HostTTL: 3 * time.Second, Unreach: time.Second,
		}),
	}
	var all sync.WaitGroup
	for i := range soakClients {
		all.Go(func() { s.client(s.rand(i)) })
	}
	all.Go(func() { s.breakConductors(s.rand(100)) })
	all.Go(func() { s.breakHosts(s.rand(101)) })
	all.Go(func() { s.guests(s.rand(102)) })
	all.Wait()
	s.rest()
}

func (s *soak) rand(who int) *rand.Rand { return rand.New(rand.NewPCG(s.seed, uint64(who))) }

// pause waits a random time of at most d, or until the run ends.
func (s *soak) pause(r *rand.Rand, d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(time.Duration(r.Int64N(int64(d)))):
	}
}

var soakVerbs = []vm.Verb{
	vm.Start, vm.Start, vm.Stop, vm.Stop, vm.Reboot, vm.Pause, vm.Pause, vm.Unpause, vm.Unpause, vm.Delete,
}

// client orders one thing after another, now and then cancelling it.
func (s *soak) client(r *rand.Rand) {
	for n := 0; s.ctx.Err() == nil; n++ {
		s.pause(r, 60*time.Millisecond)
		at := &s.slots[r.IntN(soakSlots)]
		at.mu.Lock()
		id := at.id
		if id == "" { // nobody else creates here meanwhile
			if answer := s.order(cluster.Order{Verb: vm.Create, Metadata: soakMetadata(r)}); answer != nil {
				at.id = answer.GetInstance().GetId()
			}
			at.mu.Unlock()
			continue
		}
		at.mu.Unlock()
		o := cluster.Order{Verb: soakVerbs[r.IntN(len(soakVerbs))], Instance: id, Force: r.IntN(2) == 0, Hard: r.IntN(2) == 0}
		answer := s.order(o)
		if answer == nil {
			continue
		}
		if o.Verb == vm.Delete {
			at.mu.Lock()
			if at.id == id {
				at.id = ""
			}
			at.mu.Unlock()
		}
		if r.IntN(12) == 0 {
			s.cancel(r, answer.GetTask().GetId())
		}
	}
}

// soakMetadata makes some machines slow, and some fail or hang at their first step.
func soakMetadata(r *rand.Rand) map[string]string {
	m := map[string]string{}
	for _, step := range []string{"image", "spawn", "stop", "start", "reboot", "pause", "unpause", "destroy"} {
		switch r.IntN(8) {
		case 0, 1, 2:
			m["sim.latency."+step] = fmt.Sprintf("%dms", r.IntN(600))
		case 3:
			m["sim.fail."+step] = "1"
		}
	}
	return m
}

// order sends one request until it is answered. Nil means refused.
func (s *soak) order(o cluster.Order) *conductorv1.InstanceTask {
	o.Each = 2 * time.Second
	if names := s.c.Living(); len(names) > 0 {
		o.First = names[int(s.orders.Add(1))%len(names)]
	}
	answer, err := s.c.TrySend(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused[vm.ReasonOf(err)]++
		return nil
	}
	if id := answer.GetTask().GetId(); id != "" { // a delete of what is deleted has none
		s.accepted[id] = o.Verb
	}
	return answer
}

func (s *soak) cancel(r *rand.Rand, task string) {
	names := s.c.Living()
	x := s.c.Conductor(names[r.IntN(len(names))])
	if x == nil || task == "" {
		return
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	_, _ = s.c.Client(x.Name).CancelTask(ctx, &conductorv1.CancelTaskRequest{Id: task})
}

// breakConductors breaks one conductor after another, so that one at least can work.
func (s *soak) breakConductors(r *rand.Rand) {
	for s.ctx.Err() == nil {
		s.pause(r, time.Second)
		names := s.c.Living()
		x := s.c.Conductor(names[r.IntN(len(names))])
		s.faults.Add(1)
		switch r.IntN(6) {
		case 0, 1: // dies
			x.Kill()
			s.pause(r, time.Second)
			s.c.StartConductor(x.Name)
			x.Bury()
		case 2: // is thought dead, and acts on
			x.Isolate()
			s.pause(r, 4*time.Second)
			s.c.StartConductor(x.Name)
			x.Bury()
		case 3: // cannot reach the store for a while, perhaps for longer than its session lasts
			x.Etcd.Set(netfault.BlackHole)
			s.pause(r, 6*time.Second)
			x.Etcd.Set(netfault.Pass)
		case 4: // cannot reach the hosts
			x.CutAgents()
			s.pause(r, 3*time.Second)
			x.MendAgents()
		default: // is restarted
			require.NoError(s.t, x.Stop())
			s.c.StartConductor(x.Name)
			x.Bury()
		}
	}
}

// breakHosts kills one agent after another. Some are away for longer than their lease.
func (s *soak) breakHosts(r *rand.Rand) {
	for s.ctx.Err() == nil {
		s.pause(r, 2*time.Second)
		x := s.c.Compute(soakHosts[r.IntN(len(soakHosts))])
		s.faults.Add(1)
		stale := x.Refused()
		x.Kill()
		s.mu.Lock()
		s.stale += stale
		s.mu.Unlock()
		if r.IntN(3) == 0 {
			s.pause(r, 5*time.Second)
		}
		x.Restart()
		x.Bury()
	}
}

// guests crash and shut down by themselves.
func (s *soak) guests(r *rand.Rand) {
	for s.ctx.Err() == nil {
		s.pause(r, 3*time.Second)
		running := s.c.Executing()
		if len(running) == 0 {
			continue
		}
		id := slices.Sorted(maps.Keys(running))[r.IntN(len(running))]
		x := s.c.Compute(running[id])
		switch {
		case x == nil:
		case r.IntN(2) == 0:
			_ = x.Driver.GuestCrash(id) // it may have stopped meanwhile
		default:
			_ = x.Driver.GuestShutdown(id)
		}
	}
}

// rest lets everything end, checks every promise, and that there was something to check.
func (s *soak) rest() {
	c := s.c
	c.AwaitReady()
	c.AwaitQuiet() // P1, P2, P6
	s.checkHosts()
	s.checkSight()
	history := c.History()
	s.checkTasks(history)

	kinds, takeovers, preempted := map[string]int{}, 0, 0
	for _, t := range history {
		kinds[string(t.Kind)+" "+string(t.Status)]++
		for _, a := range t.Attempts {
			if strings.HasPrefix(a.Why, "takeover") {
				takeovers++
			}
		}
		if t.Cancels != "" {
			preempted++
		}
	}
	s.t.Logf("tasks: %v", kinds)
	s.t.Logf("refusals: %v", s.refused)
	require.Positive(s.t, takeovers, "nothing was taken over: this run proves nothing")
	require.Positive(s.t, s.stale, "no fence was refused: this run proves nothing")
	require.Positive(s.t, preempted, "nothing was preempted: this run proves nothing")
	require.False(s.t, s.t.Failed())
	fmt.Printf("soak: %d operations, %d tasks, %d faults, %d takeovers, %d refused fences, %d preempted, 0 violations\n",
		s.orders.Load(), len(history), s.faults.Load(), takeovers, s.stale, preempted)
}

// checkTasks compares what was answered with what was done.
func (s *soak) checkTasks(history []*vm.Task) {
	byID := map[string]*vm.Task{}
	of := map[vm.InstanceID][]*vm.Task{}
	for _, t := range history {
		byID[string(t.ID)] = t
		of[t.Instance] = append(of[t.Instance], t)
		// Whoever lost an answer asked again under the same key until there was one.
		require.Contains(s.t, s.accepted, string(t.ID), "P5: a %s was done that nobody was told of: %+v", t.Kind, t)
	}
	for id, verb := range s.accepted {
		require.Contains(s.t, byID, id, "P5: the %s that became task %s was answered with success and is nowhere", verb, id)
	}
	for id, all := range of {
		var fences []vm.Fence
		slices.SortFunc(all, func(a, b *vm.Task) int { return first(a).Compare(first(b)) })
		for _, t := range all {
			for _, a := range t.Attempts {
				require.NotNil(s.t, a.Fence, "task %s", t.ID)
				fences = append(fences, *a.Fence)
			}
		}
		require.True(s.t, slices.IsSortedFunc(fences, vm.Fence.Compare), "P1: the tasks of instance %s had it by turns: %v", id, fences)
		require.Len(s.t, slices.Compact(slices.Clone(fences)), len(fences), "P1: two attempts on instance %s had one fence: %v", id, fences)
	}
}

// first is the fence under which a task began; zero for one that was cancelled before.
func first(t *vm.Task) vm.Fence {
	if len(t.Attempts) == 0 || t.Attempts[0].Fence == nil {
		return vm.Fence{}
	}
	return *t.Attempts[0].Fence
}

// checkHosts demands that every machine is on record.
func (s *soak) checkHosts() {
	for _, name := range soakHosts {
		x := s.c.Compute(name)
		s.stale += x.Refused()
		machines, err := x.Driver.List(s.t.Context())
		require.NoError(s.t, err)
		for _, m := range machines {
			in := s.c.Instance(string(m.ID))
			require.NotNil(s.t, in, "P6: %s has a machine of %s, which is nowhere on record", name, m.ID)
			require.Contains(s.t, in.Footprint, vm.HostName(name), "P6: %s has a machine of %s and is not on record for it", name, m.ID)
		}
	}
}

// checkSight demands that the records show, soon, what the machines do.
func (s *soak) checkSight() {
	for _, e := range s.c.Instances() {
		if e.Host == "" {
			continue
		}
		id := string(e.ID)
		s.c.Await("the sight of instance "+id, func() bool {
			_, executes := s.c.Executing()[e.ID]
			o := s.c.Observed(id)
			return o != nil && executes == (o.PowerState == vm.PowerRunning)
		})
	}
}
