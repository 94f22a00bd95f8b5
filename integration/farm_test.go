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
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"leasehold/integration/processes"
	"leasehold/vm"
)

// farm is a cluster of real processes that kill themselves at a point.
type farm struct {
	*processes.Cluster
	t     *testing.T
	dir   string
	crash string
}

func startFarm(t *testing.T, o processes.Options) *farm {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", bin+"/", "./cmd/conductor", "./cmd/compute")
	build.Dir = ".."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	f := &farm{t: t, dir: dir, crash: filepath.Join(dir, "crash")}
	require.NoError(t, os.Mkdir(f.crash, 0o755))
	o.Bin, o.Dir = bin, dir
	o.Env = func(string) []string { return []string{"LEASEHOLD_CRASH_DIR=" + f.crash} }
	f.Cluster, err = processes.Start(t.Context(), o)
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
	case vm.Snapshot:
		path, body = "/v1/instances/"+instance+":snapshot", fmt.Sprintf(`{"name":%q,"request_id":%q}`, name, uuid.NewString())
	case vm.SetPassword:
		path, body = "/v1/instances/"+instance+":setPassword", fmt.Sprintf(`{"password":"swordfish","request_id":%q}`, uuid.NewString())
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

// passed is every point of a verb passed since the last call.
func (f *farm) passed(verb vm.Verb) []string {
	f.t.Helper()
	file := filepath.Join(f.crash, "passed")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(f.t, err)
	require.NoError(f.t, os.Remove(file))
	return slices.DeleteFunc(strings.Fields(string(b)), func(p string) bool { return !relevant(verb, p) })
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
	next := map[vm.State]vm.Verb{vm.Stopped: vm.Stop, vm.Paused: vm.Pause, vm.Suspended: vm.Suspend, vm.Rescued: vm.Rescue}[state]
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

// sendWhileItDies sends the order and mends what it kills. The first answer may be lost with the process that owed it.
func (f *farm) sendWhileItDies(s story, instance, name string) (id, task string) {
	f.t.Helper()
	id, task = f.send(s, instance, name)
	f.mend()
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

// remove deletes what a story left.
func (f *farm) remove(id string, s story) {
	f.t.Helper()
	if s.to == vm.Deleted {
		return
	}
	_, task := f.send(story{verb: vm.Delete}, id, "")
	require.Equal(f.t, "succeeded", f.wait(task).Status)
}
