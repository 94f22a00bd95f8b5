package conductor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"leasehold/agent"
	"leasehold/conductor"
	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/drivers/sim"
	"leasehold/internal/invariant"
	"leasehold/vm"
)

// patience bounds every wait; a healthy run never comes near it.
const patience = 30 * time.Second

// world is one conductor and one simulated host on a prefix of their own, over loopback.
type world struct {
	t      *testing.T
	keys   coord.Keys
	store  *coord.Store
	url    string
	conn   *grpc.ClientConn
	client *http.Client
}

func newWorld(t *testing.T, change ...func(*conductor.Config)) *world {
	t.Helper()
	w := newHeadless(t, change...)
	w.host("h1")
	return w
}

// newHeadless is a world without hosts.
func newHeadless(t *testing.T, change ...func(*conductor.Config)) *world {
	t.Helper()
	w := newUnready(t, change...)
	w.await("the conductor is ready", func() bool { return w.call("GET", "/readyz", "").code == http.StatusOK })
	return w
}

// newUnready is a world whose conductor only listens yet.
func newUnready(t *testing.T, change ...func(*conductor.Config)) *world {
	t.Helper()
	etcd := coordtest.Shared(t)
	w := &world{t: t, keys: etcd.Keys(t), client: &http.Client{Transport: &http.Transport{}, Timeout: 2 * patience}}
	w.store = coord.NewStore(coord.Config{Client: etcd.Client(t), Keys: w.keys})
	cfg := conductor.Config{
		Name: "c1", Version: "test", Endpoints: []string{etcd.Endpoint}, Prefix: w.keys.Prefix(), GRPC: listen(t), HTTP: listen(t),
		SessionTTL: 5 * time.Second, Log: logger(),
	}
	for _, c := range change {
		c(&cfg)
	}
	c, err := conductor.New(cfg)
	require.NoError(t, err)
	w.run("the conductor", c.Run)
	w.url = "http://" + cfg.HTTP.Addr().String()
	w.conn, err = grpc.NewClient(cfg.GRPC.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.conn.Close(); w.client.CloseIdleConnections() })
	return w
}

// host starts a simulated host and waits until it is schedulable.
func (w *world) host(name vm.HostName) {
	w.t.Helper()
	dir := w.t.TempDir()
	require.NoError(w.t, os.MkdirAll(filepath.Join(dir, "machines"), 0o755))
	driver, err := sim.New(sim.Config{Host: name, Dir: filepath.Join(dir, "machines")})
	require.NoError(w.t, err)
	a, err := agent.New(w.t.Context(), agent.Config{
		Host: name, DataDir: filepath.Join(dir, "agent"), Driver: driver, Listener: listen(w.t), Conductors: []string{w.conn.Target()},
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, a.Close()); require.NoError(w.t, driver.Close()) })
	w.run("host "+string(name), a.Run)
	w.await("host "+string(name)+" is up", func() bool {
		return w.call("GET", "/v1/hosts/"+string(name), "").field("status") == "up"
	})
}

// run runs a member until the test ends.
func (w *world) run(what string, member func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- member(ctx) }()
	w.t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			require.NoError(w.t, err, what)
		case <-time.After(patience):
			w.t.Errorf("%s does not stop", what)
		}
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// logger writes what the processes say when LEASEHOLD_TEST_LOG names a level.
func logger() hclog.Logger {
	level := os.Getenv("LEASEHOLD_TEST_LOG")
	if level == "" {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(level)})
}

// await asks again and again until ok, for what no event tells a test.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	require.Eventually(w.t, ok, patience, 5*time.Millisecond, what)
}

// answer is what REST said.
type answer struct {
	code   int
	header http.Header
	raw    string
	body   map[string]any
}

type header struct{ name, value string }

func (w *world) call(method, path, body string, headers ...header) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	for _, h := range headers {
		req.Header.Set(h.name, h.value)
	}
	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	a := answer{code: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if bytes.HasPrefix(raw, []byte("{")) {
		require.NoError(w.t, json.Unmarshal(raw, &a.body), a.raw)
	}
	return a
}

// ok makes a call that must be answered with the code.
func (w *world) ok(code int, method, path, body string, headers ...header) answer {
	w.t.Helper()
	a := w.call(method, path, body, headers...)
	require.Equal(w.t, code, a.code, "%s %s: %s", method, path, a.raw)
	return a
}

// at finds a value in the answer: at("task", "id"). It is nil when it is not there.
func (a answer) at(path ...string) any {
	var v any = a.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// field is at for text and numbers, as text.
func (a answer) field(path ...string) string {
	switch v := a.at(path...).(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return ""
	}
}

// list is at for lists of objects.
func (a answer) list(path ...string) []answer {
	all, _ := a.at(path...).([]any)
	out := make([]answer, len(all))
	for i, v := range all {
		out[i].body, _ = v.(map[string]any)
	}
	return out
}

// reason is the word of an error.
func (a answer) reason() string {
	for _, d := range a.list("details") {
		if d.field("domain") == "leasehold" {
			return d.field("reason")
		}
	}
	return ""
}

// fact is one of an error's facts.
func (a answer) fact(name string) string {
	for _, d := range a.list("details") {
		if v := d.field("metadata", name); v != "" {
			return v
		}
	}
	return ""
}

// done waits for the task of an answer, which must succeed, and returns the task.
func (w *world) done(a answer) answer {
	w.t.Helper()
	task := w.ok(http.StatusOK, "GET", "/v1/tasks/"+a.field("task", "id")+":wait?timeout=30s", "")
	require.Equal(w.t, "succeeded", task.field("status"), task.raw)
	return task
}

// make creates an instance and waits for it; it returns its id.
func (w *world) make(body string) string {
	w.t.Helper()
	a := w.ok(http.StatusAccepted, "POST", "/v1/instances", body)
	w.done(a)
	return a.field("instance", "id")
}

// dump is every key of the store, the log included, with its revision.
func (w *world) dump() map[string]int64 {
	w.t.Helper()
	all := map[string]int64{}
	for _, root := range []string{w.keys.Root(), w.keys.LogRoot()} {
		page, err := w.store.List(w.t.Context(), root, "", 0, false)
		require.NoError(w.t, err)
		for _, kv := range page.KVs {
			all[kv.Key] = kv.Mod
		}
	}
	return all
}

// sound demands that the records keep the promises.
func (w *world) sound() {
	w.t.Helper()
	page, err := w.store.List(w.t.Context(), w.keys.Root(), "", 0, false)
	require.NoError(w.t, err)
	var all []invariant.Record
	for _, kv := range page.KVs {
		all = append(all, invariant.Record{Key: kv.Key[len(w.keys.Root()):], Value: kv.Value, Lease: kv.Lease})
	}
	require.Empty(w.t, invariant.Check(all))
	require.Empty(w.t, w.ok(http.StatusOK, "GET", "/v1/check", "").list("violations"))
}
