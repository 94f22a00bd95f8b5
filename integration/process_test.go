//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/integration/processes"
	"leasehold/vm"
)

// TestRealCrashMatrix is the crash matrix with real processes and real SIGKILLs.
func TestRealCrashMatrix(t *testing.T) {
	f := startFarm(t, processes.Options{
		Conductors: 3, Computes: 2, // with room for every instance that is made and not deleted
		Compute: []string{"--sim-capacity", "vcpus=4096,memory_mib=16777216,disk_gib=1048576"},
	})
	n, kinds := 0, []string{}
	for _, s := range stories {
		name := fmt.Sprintf("%s-plain", s.verb)
		instance := ""
		if s.from != "" {
			instance = f.make(name, s.from)
		}
		f.passed(s.verb)
		_, task := f.send(s, instance, name)
		require.Equal(t, "succeeded", f.wait(task).Status)
		points := f.passed(s.verb)
		require.NotEmpty(t, points)
		seen, hit := map[string]int{}, 0
		for _, p := range points {
			seen[p]++
			n++
			name, nth := fmt.Sprintf("%s-%d", s.verb, n), seen[p]
			t.Run(fmt.Sprintf("%s/%s/%d", s.verb, p, nth), func(t *testing.T) {
				f := &farm{f.Cluster, t, f.dir, f.crash}
				instance := ""
				if s.from != "" {
					instance = f.make(name, s.from)
				}
				f.arm(p, nth)
				id, task := f.sendWhileItDies(s, instance, name)
				got := f.wait(task)
				require.Equal(t, "succeeded", got.Status, "%v", got.Error)
				hit++
				f.state(id, s)
				f.check()
			})
		}
		kinds = append(kinds, fmt.Sprintf("%s %d of %d", s.verb, hit, len(points)))
		require.Equal(t, len(points), hit, "every recorded point of %s must be hit", s.verb)
	}
	fmt.Printf("real crash matrix: %s\n", strings.Join(kinds, ", "))
}

// TestAStoppedConductorIsReplacedAndChangesNothing sends SIGSTOP to the conductor that drives a create: another one takes
// over after the TTL, and the stopped one, continued, changes nothing.
func TestAStoppedConductorIsReplacedAndChangesNothing(t *testing.T) {
	f := startFarm(t, processes.Options{Conductors: 3, Computes: 2, Conductor: []string{"--session-ttl", "4s"}})
	body := `{"name":"slow","flavor":"tiny","image":"default","metadata":{"sim.latency.spawn":"3s"}}`
	var a struct {
		Instance struct{ ID string }
		Task     taskJSON
	}
	f.ask(http.MethodPost, "/v1/instances", body, &a)
	victim := f.Named(a.Task.Attempts[0].Conductor)
	require.NotNil(t, victim)
	require.NoError(t, victim.Cmd.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	others := slices.DeleteFunc(f.Role(processes.Conductors), func(p *processes.Process) bool { return p == victim })
	var got taskJSON
	require.NoError(t, f.Await(t.Context(), "the takeover", func(ctx context.Context) bool {
		err := f.Call(ctx, http.MethodGet, others[0].HTTP+"/v1/tasks/"+a.Task.ID, "", &got)
		return err == nil && len(got.Attempts) > 1
	}))
	t.Logf("taken over %v after SIGSTOP, session TTL 4 s", time.Since(stopped))
	require.NoError(t, f.Await(t.Context(), "the end", func(ctx context.Context) bool {
		err := f.Call(ctx, http.MethodGet, others[0].HTTP+"/v1/tasks/"+a.Task.ID, "", &got)
		return err == nil && got.Status == "succeeded"
	}))
	before, err := f.Client.Get(t.Context(), f.Keys.Instance(vm.InstanceID(a.Instance.ID)))
	require.NoError(t, err)
	require.NoError(t, victim.Cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(t, f.Await(t.Context(), "the stopped one's new session", func(ctx context.Context) bool {
		r, err := f.Client.Get(ctx, f.Keys.AliveConductor(vm.ConductorName(victim.Name)))
		return err == nil && len(r.Kvs) == 1
	}))
	after, err := f.Client.Get(t.Context(), f.Keys.Instance(vm.InstanceID(a.Instance.ID)))
	require.NoError(t, err)
	require.Equal(t, before.Kvs[0].ModRevision, after.Kvs[0].ModRevision, "it changed nothing")
	f.check()
}
