package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/integration/processes"
	"leasehold/vm"
)

// TestEveryVerbOnQEMUWhileItsAgentIsKilled runs each kind of task on real machines, with a real conductor and a real agent
// that sends itself SIGKILL before or after each of its calls of the hypervisor. The guests survive their agent, and every
// task comes to its right end. QEMU is needed: make test installs it where it may.
func TestEveryVerbOnQEMUWhileItsAgentIsKilled(t *testing.T) {
	f := startFarm(t, processes.Options{Conductors: 1, Computes: 1, Driver: "qemu"})
	t.Cleanup(func() { // what a failed run left: guests outlive everything else
		for pid := range machinesUnder(t, f.dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	n, able := 0, f.able(t)
	for _, s := range able {
		name := fmt.Sprintf("%s-plain", s.verb)
		instance := ""
		if s.from != "" {
			instance = f.make(name, s.from)
		}
		f.passed(s.verb)
		id, task := f.send(s, instance, name)
		require.Equal(t, "succeeded", f.wait(task).Status)
		points := f.passed(s.verb)
		f.remove(id, s)
		seen := map[string]int{}
		for _, p := range points {
			if !strings.HasPrefix(p, "driver:") {
				continue
			}
			seen[p]++
			n++
			name, nth := fmt.Sprintf("%s-%d", s.verb, n), seen[p]
			t.Run(fmt.Sprintf("%s/%s", s.verb, p), func(t *testing.T) {
				f := &farm{f.Cluster, t, f.dir, f.crash}
				instance := ""
				if s.from != "" {
					instance = f.make(name, s.from)
				}
				f.arm(p, nth)
				id, task := f.sendWhileItDies(s, instance, name)
				got := f.wait(task)
				require.Equal(t, "succeeded", got.Status, "%v", got.Error)
				f.state(id, s)
				f.check()
				f.remove(id, s)
			})
		}
	}
	require.GreaterOrEqual(t, n, 2*len(able), "every verb calls the hypervisor at least once")
	require.Empty(t, machinesUnder(t, f.dir), "P6: every machine was deleted")
}

// able are the stories that the host's driver has the powers for, as it says itself. The guest of this test has no agent, so
// nobody can set its password.
func (f *farm) able(t *testing.T) []story {
	t.Helper()
	var host struct{ Powers []string }
	f.ask(http.MethodGet, "/v1/hosts/h1", "", &host)
	needs := map[vm.Verb]string{
		vm.Reboot: "reboot", vm.Pause: "pause", vm.Unpause: "pause", vm.Suspend: "suspend", vm.Resume: "suspend",
		vm.Rescue: "rescue", vm.Unrescue: "rescue", vm.Rebuild: "rebuild", vm.Snapshot: "snapshot",
	}
	var able []story
	for _, s := range stories {
		if need := needs[s.verb]; s.verb != vm.SetPassword && (need == "" || slices.Contains(host.Powers, need)) {
			able = append(able, s)
		}
	}
	require.GreaterOrEqual(t, len(able), 7, "create, delete and the power verbs work on every driver")
	return able
}

// machinesUnder are the processes of machines that belong to this test: those that name its folder.
func machinesUnder(t *testing.T, dir string) map[int]string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	found := map[int]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(line, dir) && (strings.Contains(line, "qemu-system") || strings.Contains(line, " shim ")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			require.NoError(t, err)
			found[pid] = line
		}
	}
	return found
}
