//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"leasehold/integration/processes"
	"leasehold/vm"
)

// farm is a cluster of real processes that kill themselves at a point.
type farm struct {
	*processes.Cluster
	t     *testing.T
	crash string
}

func startFarm(t *testing.T, conductorFlags ...string) *farm {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", bin+"/", "./cmd/conductor", "./cmd/compute")
	build.Dir = ".."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	f := &farm{t: t, crash: filepath.Join(dir, "crash")}
	require.NoError(t, os.Mkdir(f.crash, 0o755))
	f.Cluster, err = processes.Start(t.Context(), processes.Options{
		Bin: bin, Dir: dir, Conductors: 3, Computes: 2, Conductor: conductorFlags,
		Env: func(string) []string { return []string{"LEASEHOLD_CRASH_DIR=" + f.crash} },
	})
	require.NoError(t, err)
	t.Cleanup(f.Stop)
	return f
}

type taskJSON struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Instance string `json:"instance"`
	Attempts []struct {
		Conductor string `json:"conductor"`
	} `json:"attempts"`
	Error any `json:"error"`
}

// send makes an order with an idempotency key, to one conductor after another until one answers.
func (f *farm) send(s story, instance, name string) (id, task string) {
	f.t.Helper()
	path, body, method := "/v1/instances", fmt.Sprintf(`{"name":%q,"flavor":"tiny","image":"default","request_id":%q}`, name, uuid.NewString()), http.MethodPost
	switch s.verb {
	case vm.Create:
	case vm.Delete:
		path, method, body = "/v1/instances/"+instance+"?request_id="+uuid.NewString(), http.MethodDelete, ""
	case vm.Stop:
		path, body = "/v1/instances/"+instance+":stop", fmt.Sprintf(`{"force":true,"request_id":%q}`, uuid.NewString())
	case vm.Reboot:
		path, body = "/v1/instances/"+instance+":reboot", fmt.Sprintf(`{"hard":true,"request_id":%q}`, uuid.NewString())
	default:
		path, body = "/v1/instances/"+instance+":"+string(s.verb), fmt.Sprintf(`{"request_id":%q}`, uuid.NewString())
	}
	var a struct {
		Instance struct{ ID string }
		Task     taskJSON
	}
	f.ask(method, path, body, &a)
	return a.Instance.ID, a.Task.ID
}

// ask tries every conductor until one answers.
func (f *farm) ask(method, path, body string, into any) {
	f.t.Helper()
	require.NoError(f.t, f.Await(f.t.Context(), method+" "+path, func(ctx context.Context) bool {
		for _, p := range f.Role(processes.Conductors) {
			if f.Call(ctx, method, p.HTTP+path, body, into) == nil {
				return true
			}
		}
		return false
	}))
}

func (f *farm) wait(task string) taskJSON {
	f.t.Helper()
	var t taskJSON
	require.NoError(f.t, f.Await(f.t.Context(), "the end of task "+task, func(ctx context.Context) bool {
		for _, p := range f.Role(processes.Conductors) {
			if f.Call(ctx, http.MethodGet, p.HTTP+"/v1/tasks/"+task+":wait?timeout=2s", "", &t) == nil {
				return vm.TaskStatus(t.Status).Terminal()
			}
		}
		return false
	}))
	return t
}

// passed is every point passed since the last call.
func (f *farm) passed() []string {
	f.t.Helper()
	file := filepath.Join(f.crash, "passed")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(f.t, err)
	require.NoError(f.t, os.Remove(file))
	return slices.DeleteFunc(strings.Fields(string(b)), func(p string) bool { return !relevant(p) })
}

func (f *farm) arm(point string, nth int) {
	f.t.Helper()
	hits, err := filepath.Glob(filepath.Join(f.crash, "hit*"))
	require.NoError(f.t, err)
	for _, h := range hits {
		require.NoError(f.t, os.Remove(h))
	}
	require.NoError(f.t, os.WriteFile(filepath.Join(f.crash, "armed"), fmt.Appendf(nil, "%s %d", point, nth), 0o600))
}

// make brings an instance into a state.
func (f *farm) make(name string, state vm.State) string {
	f.t.Helper()
	id, task := f.send(story{verb: vm.Create}, "", name)
	require.Equal(f.t, "succeeded", f.wait(task).Status)
	next := map[vm.State]vm.Verb{vm.Stopped: vm.Stop, vm.Paused: vm.Pause}[state]
	if next != "" {
		_, task = f.send(story{verb: next}, id, "")
		require.Equal(f.t, "succeeded", f.wait(task).Status)
	}
	return id
}

// mend waits for the process that killed itself and starts another in its place.
func (f *farm) mend() (died string) {
	f.t.Helper()
	require.NoError(f.t, f.Await(f.t.Context(), "the crash", func(context.Context) bool {
		for _, p := range f.All() {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
			if err != nil || strings.Contains(string(state), ") Z ") {
				died = p.Name
				f.Gone(p)
				return true
			}
		}
		return false
	}))
	require.NoError(f.t, os.Remove(filepath.Join(f.crash, "armed")))
	if strings.HasPrefix(died, "h") {
		require.NoError(f.t, f.StartCompute(f.t.Context(), died))
		return died
	}
	_, err := f.StartConductor(f.t.Context())
	require.NoError(f.t, err)
	return died
}

func (f *farm) check() {
	f.t.Helper()
	var c struct {
		Violations []struct{ Promise, Message string }
	}
	f.ask(http.MethodGet, "/v1/check", "", &c)
	require.Empty(f.t, c.Violations)
}

// TestRealCrashMatrix is the crash matrix with real processes and real SIGKILLs.
func TestRealCrashMatrix(t *testing.T) {
	f := startFarm(t)
	n, kinds := 0, []string{}
	for _, s := range stories {
		name := fmt.Sprintf("%s-plain", s.verb)
		instance := ""
		if s.from != "" {
			instance = f.make(name, s.from)
		}
		f.passed()
		_, task := f.send(s, instance, name)
		require.Equal(t, "succeeded", f.wait(task).Status)
		points := f.passed()
		require.NotEmpty(t, points)
		seen, hit := map[string]int{}, 0
		for _, p := range points {
			seen[p]++
			n++
			name, nth := fmt.Sprintf("%s-%d", s.verb, n), seen[p]
			t.Run(fmt.Sprintf("%s/%s/%d", s.verb, p, nth), func(t *testing.T) {
				f := &farm{f.Cluster, t, f.crash}
				instance := ""
				if s.from != "" {
					instance = f.make(name, s.from)
				}
				f.arm(p, nth)
				died := make(chan string, 1)
				id, task := f.sendWhileItDies(s, instance, name, died)
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

// sendWhileItDies sends the order and mends what it kills. The first answer may be lost with the process that owed it.
func (f *farm) sendWhileItDies(s story, instance, name string, died chan<- string) (id, task string) {
	f.t.Helper()
	id, task = f.send(s, instance, name)
	died <- f.mend()
	return id, task
}

func (f *farm) state(id string, s story) {
	f.t.Helper()
	var in struct {
		VMState   string `json:"vm_state"`
		TaskState string `json:"task_state"`
		Task      string `json:"task"`
	}
	f.ask(http.MethodGet, "/v1/instances/"+id, "", &in)
	require.Equal(f.t, string(s.to), in.VMState)
	require.Empty(f.t, in.TaskState)
}

// TestAStoppedConductorIsReplacedAndChangesNothing sends SIGSTOP to the conductor that drives a create: another one takes
// over after the TTL, and the stopped one, continued, changes nothing.
func TestAStoppedConductorIsReplacedAndChangesNothing(t *testing.T) {
	f := startFarm(t, "--session-ttl", "4s")
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
