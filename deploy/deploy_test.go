package deploy_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is long because a loaded machine is slow; nothing waits it out.
const patience = 2 * time.Minute

// TestUnitsAndExampleSettingsStart starts the command lines of the units with the example settings, as they stand there
// but for directories and ports, waits until a host is up, and stops them.
func TestUnitsAndExampleSettingsStart(t *testing.T) {
	w := newWorld(t)
	etcd := w.start("leasehold-etcd.service", "")
	w.until(etcd, "the store is healthy", func() bool { return w.get("127.0.0.1:2379", "/health") != nil })
	conductor := w.start("leasehold-conductor@.service", "c1")
	w.until(conductor, "the conductor is ready", func() bool { return w.get("127.0.0.1:8001", "/readyz") != nil })
	compute := w.start("leasehold-compute@.service", "h1")
	w.until(compute, "the host is up", func() bool {
		var list struct {
			Hosts []struct{ Name, Status string }
		}
		body := w.get("127.0.0.1:8001", "/v1/hosts")
		return json.Unmarshal(body, &list) == nil && len(list.Hosts) == 1 &&
			list.Hosts[0].Name == "h1" && list.Hosts[0].Status == "up"
	})
	for _, p := range []*process{compute, conductor, etcd} {
		p.stop(t)
	}
}

func TestMachinesOutliveTheUnitOfTheirAgent(t *testing.T) {
	unit := read(t, "systemd/leasehold-compute@.service")
	require.Equal(t, "process", setting(t, unit, "KillMode"))
	require.Equal(t, "yes", setting(t, unit, "Delegate"))
	require.Equal(t, "continue", setting(t, unit, "OOMPolicy"))
}

// world is a file system and ports to replace those that the units and settings name.
type world struct {
	t     *testing.T
	bin   string
	dir   string
	ports map[string]string // the address in the settings -> a free one
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bin: t.TempDir(), dir: t.TempDir(), ports: map[string]string{}}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", w.bin, "leasehold/cmd/conductor", "leasehold/cmd/compute")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	var open []net.Listener
	for _, address := range []string{"127.0.0.1:2379", "127.0.0.1:2380", "127.0.0.1:7001", "127.0.0.1:8001", "127.0.0.1:9001"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		open = append(open, l)
		w.ports[address] = l.Addr().String()
	}
	for _, l := range open {
		require.NoError(t, l.Close())
	}
	settings, err := filepath.Glob("config/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, settings)
	for _, path := range settings {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, filepath.Base(path)), []byte(w.moved(read(t, path))), 0o600))
	}
	return w
}

// moved is text with our directories and ports.
func (w *world) moved(text string) string {
	pairs := []string{"/usr/local/bin", w.bin, "/etc/leasehold", w.dir, "/var/lib", filepath.Join(w.dir, "lib")}
	for theirs, ours := range w.ports {
		pairs = append(pairs, theirs, ours)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// start runs what the unit starts for an instance of it.
func (w *world) start(unit, instance string) *process {
	w.t.Helper()
	line := w.moved(strings.ReplaceAll(setting(w.t, read(w.t, "systemd/"+unit), "ExecStart"), "%i", instance))
	words := strings.Fields(line)
	p := &process{line: line, ended: make(chan struct{}), log: filepath.Join(w.t.TempDir(), "log")}
	log, err := os.Create(p.log)
	require.NoError(w.t, err)
	defer log.Close()
	p.cmd = exec.Command(words[0], words[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	require.NoError(w.t, p.cmd.Start(), line)
	go func() {
		defer close(p.ended)
		p.exit = p.cmd.Wait()
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// get is the body of an answer 200 of the server that the settings have at address; nil when there is none.
func (w *world) get(address, path string) []byte {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.ports[address]+path, http.NoBody)
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// until asks again and again; the end of the process is a failure.
func (w *world) until(p *process, what string, reached func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-p.ended:
			w.t.Fatalf("%s: %s ended: %v\n%s", what, p.line, p.exit, p.said())
		case <-deadline:
			w.t.Fatalf("%s: not after %s\n%s", what, patience, p.said())
		}
	}
}

// process is what a unit started.
type process struct {
	line  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
	exit  error // after ended
}

// stop does what systemd does, and expects a clean end.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
		require.NoError(t, p.exit, "%s\n%s", p.line, p.said())
	case <-time.After(patience):
		t.Fatalf("%s did not stop\n%s", p.line, p.said())
	}
}

func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// setting is the one value of a setting in a unit.
func setting(t *testing.T, unit, name string) string {
	t.Helper()
	var values []string
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			values = append(values, value)
		}
	}
	require.Len(t, values, 1, name)
	return values[0]
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
