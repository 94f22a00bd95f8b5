package conductor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"leasehold/api/conductor/v1"
	"leasehold/conductor"
	"leasehold/coord/coordtest"
	"leasehold/internal/netfault"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

func TestListsFilterSortAndPage(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"delta", "alpha", "echo", "bravo", "charlie"} {
		w.make(`{"name":"` + name + `","flavor":"tiny","image":"default","metadata":{"first":"` + name[:1] + `","vowel":"` + strconv.FormatBool(slices.Contains([]string{"alpha", "echo"}, name)) + `"}}`)
	}
	w.done(w.ok(http.StatusAccepted, "POST", "/v1/instances/echo:stop", ""))
	list := func(query string) []string {
		t.Helper()
		var names []string
		for _, in := range w.ok(http.StatusOK, "GET", "/v1/instances?"+query, "").list("instances") {
			names = append(names, in.field("name"))
		}
		return names
	}
	require.Equal(t, []string{"delta", "alpha", "echo", "bravo", "charlie"}, list(""))
	require.Equal(t, []string{"charlie", "bravo", "echo", "alpha", "delta"}, list("sort=-created_at"))
	require.Equal(t, []string{"alpha", "bravo", "charlie", "delta", "echo"}, list("sort=name"))
	require.Equal(t, []string{"echo"}, list("state=stopped"))
	require.Equal(t, []string{"alpha"}, list("name=alpha"))
	require.Equal(t, []string{"alpha", "echo"}, list("label=vowel=true&sort=name"))
	require.Len(t, list("label=first"), 5)
	require.Empty(t, list("label=last"))
	require.Len(t, list("host=h1"), 5)
	require.Empty(t, list("host=h2"))

	// Pages are places in the order: what comes and goes in between moves nobody else.
	first := w.ok(http.StatusOK, "GET", "/v1/instances?sort=name&page_size=2", "")
	token := first.field("next_page_token")
	require.NotEmpty(t, token)
	w.done(w.ok(http.StatusAccepted, "DELETE", "/v1/instances/alpha", ""))
	w.make(`{"name":"aardvark","flavor":"tiny","image":"default"}`)
	second := w.ok(http.StatusOK, "GET", "/v1/instances?sort=name&page_size=2&page_token="+token, "")
	require.Equal(t, "charlie", second.list("instances")[0].field("name"))
	third := w.ok(http.StatusOK, "GET", "/v1/instances?sort=name&page_size=2&page_token="+second.field("next_page_token"), "")
	require.Equal(t, "echo", third.list("instances")[0].field("name"))
	require.Empty(t, third.field("next_page_token"))
	require.Equal(t, "invalid_argument", w.call("GET", "/v1/instances?sort=-name&page_token="+token, "").reason(), "of another list")

	// Tasks come from the newest to the oldest, over any number of pages, open and closed.
	var ids []string
	for next := ""; ; {
		page := w.ok(http.StatusOK, "GET", "/v1/tasks?closed=true&page_size=3&page_token="+next, "")
		for _, task := range page.list("tasks") {
			ids = append(ids, task.field("id"))
		}
		if next = page.field("next_page_token"); next == "" {
			break
		}
	}
	require.Len(t, ids, 8)
	require.Len(t, slices.Compact(slices.Clone(ids)), 8)
	require.True(t, slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }))
	require.Len(t, w.ok(http.StatusOK, "GET", "/v1/tasks?closed=true&kind=create", "").list("tasks"), 6)
	require.Empty(t, w.ok(http.StatusOK, "GET", "/v1/tasks?closed=true&status=failed", "").list("tasks"))
	for _, path := range []string{"flavors", "images", "hosts", "locks", "conductors"} {
		w.ok(http.StatusOK, "GET", "/v1/"+path+"?page_size=1", "")
	}
	require.Len(t, w.ok(http.StatusOK, "GET", "/v1/flavors?page_size=3", "").list("flavors"), 3)
}

func TestAnUpdateEditsWhatBelongsToPeople(t *testing.T) {
	w := newWorld(t)
	id := w.make(`{"name":"web","flavor":"tiny","image":"default","metadata":{"a":"1","b":"2"}}`)
	w.make(`{"name":"db","flavor":"tiny","image":"default"}`)
	was := w.ok(http.StatusOK, "GET", "/v1/instances/web", "")

	now := w.ok(http.StatusOK, "PATCH", "/v1/instances/web",
		`{"name":"www","metadata":{"a":"","c":"3"},"delete_protection":true,"if_revision":"`+was.field("revision")+`"}`)
	require.Equal(t, "www", now.field("name"))
	require.Equal(t, map[string]any{"b": "2", "c": "3"}, now.at("metadata"))
	require.Equal(t, id, w.ok(http.StatusOK, "GET", "/v1/instances/www?min_revision="+now.field("revision"), "").field("id"))
	require.Equal(t, "not_found", w.call("GET", "/v1/instances/web", "").reason())
	require.Equal(t, "in_use", w.call("PATCH", "/v1/instances/www", `{"name":"x","if_revision":"`+was.field("revision")+`"}`).reason())
	require.Equal(t, now.field("revision"), w.ok(http.StatusOK, "PATCH", "/v1/instances/www", `{"name":"www"}`).field("revision"), "nothing new")
	require.Equal(t, "already_exists", w.call("PATCH", "/v1/instances/www", `{"name":"db"}`).reason())
	require.Equal(t, "state_forbids", w.call("DELETE", "/v1/instances/www", "").reason(), "it is protected")
	w.ok(http.StatusOK, "PATCH", "/v1/instances/www", `{"delete_protection":false}`)

	// While a task runs: the task takes the edit over, and leaves the new name when it ends.
	hung := w.ok(http.StatusAccepted, "POST", "/v1/instances", `{"name":"slow","flavor":"tiny","image":"default","metadata":{"sim.latency.spawn":"300ms"}}`)
	w.ok(http.StatusOK, "PATCH", "/v1/instances/slow", `{"name":"quick"}`)
	w.done(hung)
	require.Equal(t, "active", w.ok(http.StatusOK, "GET", "/v1/instances/quick", "").field("vm_state"))
	w.done(w.ok(http.StatusAccepted, "DELETE", "/v1/instances/quick", ""))
	require.Equal(t, "state_forbids", w.call("PATCH", "/v1/instances/"+hung.field("instance", "id"), `{"name":"again"}`).reason())
	w.sound()
}

func TestOneOfTwoGetsTheName(t *testing.T) {
	w := newWorld(t)
	answers := make(chan answer, 8)
	for range cap(answers) {
		go func() { answers <- w.call("POST", "/v1/instances", tiny) }()
	}
	codes := map[int]int{}
	for range cap(answers) {
		a := <-answers
		if codes[a.code]++; a.code == http.StatusAccepted {
			w.done(a)
		}
	}
	require.Equal(t, map[int]int{http.StatusAccepted: 1, http.StatusConflict: 7}, codes)
	w.sound()
}

func TestImagesAndFlavors(t *testing.T) {
	w := newWorld(t)
	img := w.ok(http.StatusCreated, "POST", "/v1/images", `{"name":"mine","url":"https://example.org/x.qcow2"}`)
	require.Equal(t, "qcow2", img.field("format"))
	require.Equal(t, img.field("id"), w.ok(http.StatusOK, "GET", "/v1/images/mine", "").field("id"))
	w.ok(http.StatusOK, "DELETE", "/v1/images/"+img.field("id"), "")
	require.Equal(t, "not_found", w.call("GET", "/v1/images/mine?min_revision=0", "").reason())
	w.ok(http.StatusCreated, "POST", "/v1/images", `{"name":"mine","url":"builtin:boot0"}`)
	id := w.make(`{"name":"web","flavor":"tiny","image":"mine"}`)
	require.Equal(t, "in_use", w.call("DELETE", "/v1/images/mine", "").reason())
	w.done(w.ok(http.StatusAccepted, "DELETE", "/v1/instances/"+id, ""))
	w.ok(http.StatusOK, "DELETE", "/v1/images/mine", "")

	w.ok(http.StatusCreated, "POST", "/v1/flavors", `{"name":"odd","vcpus":3,"memory_mib":300,"disk_gib":3}`)
	require.InDelta(t, 3, w.make2(`{"name":"odd","flavor":"odd","image":"default"}`).at("size", "vcpus"), 0)
	w.ok(http.StatusOK, "DELETE", "/v1/flavors/odd", "")
	require.InDelta(t, 3, w.ok(http.StatusOK, "GET", "/v1/instances/odd", "").at("size", "vcpus"), 0, "it carries its own size")
	w.sound()
}

// make2 is make, returning the instance.
func (w *world) make2(body string) answer {
	w.t.Helper()
	return w.ok(http.StatusOK, "GET", "/v1/instances/"+w.make(body), "")
}

func TestHosts(t *testing.T) {
	w := newWorld(t)
	h := w.ok(http.StatusOK, "GET", "/v1/hosts/h1", "")
	require.Equal(t, "enabled", h.field("admin"))
	require.Equal(t, "sim", h.field("driver"))
	require.Equal(t, "disabled", w.ok(http.StatusOK, "POST", "/v1/hosts/h1:disable", "").field("admin"))
	full := w.call("POST", "/v1/instances", tiny)
	require.Equal(t, http.StatusTooManyRequests, full.code)
	require.Equal(t, "capacity", full.reason())
	require.Contains(t, full.field("message"), "1 disabled")
	rev := w.ok(http.StatusOK, "POST", "/v1/hosts/h1:enable", "").field("revision")
	require.Equal(t, rev, w.ok(http.StatusOK, "POST", "/v1/hosts/h1:enable", "").field("revision"), "it is so already")
	w.make(tiny)
	require.InDelta(t, 1, w.ok(http.StatusOK, "GET", "/v1/hosts/h1", "").at("instances"), 0)
}

func TestWhatRunsExplainsItself(t *testing.T) {
	w := newWorld(t)
	made := w.ok(http.StatusAccepted, "POST", "/v1/instances", `{"name":"web","flavor":"tiny","image":"default","metadata":{"sim.latency.spawn":"60s"}}`)
	task := made.field("task", "id")
	topics := func() map[string]string {
		all := map[string]string{}
		for _, f := range w.ok(http.StatusOK, "GET", "/v1/instances/web:explain", "").list("facts") {
			all[f.field("topic")] += f.field("message") + "\n"
		}
		return all
	}
	w.await("the spawn shows its progress", func() bool { return strings.Contains(topics()["task"], "its progress is") })
	facts := topics()
	require.Contains(t, facts["state"], "building")
	require.Contains(t, facts["task"], "step spawn has been doing for")
	require.Contains(t, facts["claim"], "conductor c1 has driven it for")
	require.Contains(t, facts["lock"], "conductor c1 has locked instance/")
	require.Contains(t, facts["host"], "it is on host h1, which has been up for")

	busy := w.call("POST", "/v1/instances/web:stop", "")
	require.Equal(t, "task_in_progress", busy.reason())
	require.Equal(t, task, busy.fact("task"))
	require.Equal(t, "c1", busy.fact("holder"))
	legal := map[string]string{}
	for _, a := range w.ok(http.StatusOK, "GET", "/v1/instances/web/actions", "").list("actions") {
		legal[a.field("action")] = fmt.Sprint(a.at("legal"), " ", a.field("reason"))
	}
	require.Equal(t, "true ", legal["delete"])
	require.Equal(t, "false task_in_progress", legal["stop"])
	require.Equal(t, "false unsupported", legal["move"])
	require.Len(t, legal, len(vm.Verbs()))

	locks := w.ok(http.StatusOK, "GET", "/v1/locks", "").list("locks")
	require.Len(t, locks, 2)
	require.Equal(t, "claim create c1", locks[0].field("kind")+" "+locks[0].field("task_kind")+" "+locks[0].field("conductor"))
	require.Equal(t, "instance", locks[1].field("kind"))
	c := w.ok(http.StatusOK, "GET", "/v1/conductors", "").list("conductors")[0]
	require.InDelta(t, 1, c.at("tasks"), 0)
	require.Equal(t, true, c.at("self"))
	require.Equal(t, made.field("instance", "id"), w.ok(http.StatusOK, "GET", "/v1/tasks/"+task[len(task)-8:], "").field("instance"), "by the end of its id")

	soon := w.ok(http.StatusOK, "GET", "/v1/tasks/"+task+":wait?timeout=0s", "")
	require.Equal(t, "running", soon.field("status"), "the time is over, the task is not")
	w.ok(http.StatusOK, "POST", "/v1/tasks/"+task+":cancel", "")
	ended := w.ok(http.StatusOK, "GET", "/v1/tasks/"+task+":wait", "")
	require.Equal(t, "cancelled", ended.field("status"))
	require.Contains(t, topics()["error"], "what can repair it")
	w.sound()
}

func TestAReadWaitsForTheRevisionThatItsCallerHasSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.ok(http.StatusAccepted, "POST", "/v1/instances", tiny)
	w.ok(http.StatusOK, "GET", "/v1/instances/web?min_revision="+made.field("revision"), "")
	w.done(made)
	rev, err := strconv.ParseInt(w.ok(http.StatusOK, "GET", "/v1/instances", "").field("revision"), 10, 64)
	require.NoError(t, err)
	late := make(chan answer, 1)
	go func() { late <- w.call("GET", fmt.Sprintf("/v1/instances?min_revision=%d", rev+1), "") }()
	w.make(`{"name":"two","flavor":"tiny","image":"default"}`)
	require.Equal(t, http.StatusOK, (<-late).code)
	never := w.call("GET", fmt.Sprintf("/v1/instances/web?min_revision=%d", rev+1_000_000), "")
	require.Equal(t, http.StatusServiceUnavailable, never.code)
	require.Equal(t, "store_unavailable", never.reason())
}

func TestWithoutTheStoreReadsGoOnAndSayHowOldTheyAre(t *testing.T) {
	t.Parallel()
	etcd := coordtest.Shared(t)
	proxy, err := netfault.New(strings.TrimPrefix(etcd.Endpoint, "http://"))
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	w := newWorld(t, func(cfg *conductor.Config) {
		cfg.Endpoints, cfg.SessionTTL = []string{"http://" + proxy.Addr()}, 2*time.Second
	})
	id := w.make(tiny)
	require.Empty(t, w.ok(http.StatusOK, "GET", "/v1/instances/web", "").header.Get("X-Leasehold-Age"))
	proxy.Set(netfault.BlackHole)
	w.await("the session is lost", func() bool { return w.call("GET", "/readyz", "").code == http.StatusServiceUnavailable })
	require.Contains(t, w.call("GET", "/readyz", "").field("message"), "no session")
	w.ok(http.StatusOK, "GET", "/healthz", "")
	shown := w.ok(http.StatusOK, "GET", "/v1/instances/"+id, "")
	require.Equal(t, "active", shown.field("vm_state"))
	age, err := strconv.Atoi(shown.header.Get("X-Leasehold-Age"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, age, 1)
	require.Equal(t, "store_unavailable", w.call("POST", "/v1/instances/web:stop", "").reason())
	proxy.Set(netfault.Pass)
	w.await("a new session", func() bool { return w.call("GET", "/readyz", "").code == http.StatusOK })
	w.done(w.ok(http.StatusAccepted, "POST", "/v1/instances/web:stop", ""))
}

func TestGRPCAnswersAsRESTDoes(t *testing.T) {
	w := newWorld(t)
	c := conductorv1.NewConductorClient(w.conn)
	made, err := c.CreateInstance(t.Context(), &conductorv1.CreateInstanceRequest{Name: "web", Flavor: "tiny", Image: "default", RequestId: "k"})
	require.NoError(t, err)
	task, err := c.WaitTask(t.Context(), &conductorv1.WaitTaskRequest{Id: made.GetTask().GetId()})
	require.NoError(t, err)
	require.Equal(t, "succeeded", task.GetStatus())
	_, err = c.StartInstance(t.Context(), &conductorv1.VerbRequest{Id: "web"})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	var refusal *vm.Refusal
	require.ErrorAs(t, rpc.FromStatus(err), &refusal)
	require.True(t, refusal.Already)
	_, err = c.GetInstance(metadata.AppendToOutgoingContext(t.Context(), "x-project", "other"), &conductorv1.GetRequest{Id: "web"})
	require.Equal(t, codes.NotFound, status.Code(err))
	_, err = c.CreateInstance(t.Context(), &conductorv1.CreateInstanceRequest{Name: strings.Repeat("x", 2<<20)})
	require.Equal(t, vm.ReasonTooLarge, vm.ReasonOf(rpc.FromStatus(err)))
	health, err := healthv1.NewHealthClient(w.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, health.GetStatus())
	tables, err := c.GetFSM(t.Context(), &conductorv1.ListRequest{})
	require.NoError(t, err)
	require.NotEmpty(t, tables.GetActions())
	require.Len(t, tables.GetRecovery(), len(vm.TaskStates()))
	require.Contains(t, w.ok(http.StatusOK, "GET", "/metrics", "").raw, "leasehold_tasks_ended_total")
}

func TestFollowersAreTold(t *testing.T) {
	w := newWorld(t)
	from := w.ok(http.StatusOK, "GET", "/v1/instances", "").field("revision")
	made := w.ok(http.StatusAccepted, "POST", "/v1/instances", tiny)

	// Over gRPC, and over HTTP a line each.
	watch, err := conductorv1.NewStreamsClient(w.conn).WatchTask(t.Context(), &conductorv1.GetRequest{Id: made.field("task", "id")})
	require.NoError(t, err)
	var last *conductorv1.Task
	for {
		task, err := watch.Recv()
		if err != nil {
			break
		}
		last = task
	}
	require.Equal(t, "succeeded", last.GetStatus())
	lines := strings.Split(strings.TrimSpace(w.ok(http.StatusOK, "GET", "/v1/tasks/"+last.GetId()+":watch", "").raw), "\n")
	require.Len(t, lines, 1, "it has ended")
	require.Contains(t, lines[0], `"result"`)

	n, err := strconv.ParseInt(from, 10, 64)
	require.NoError(t, err)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/v1/events?from_revision=%d&instance=web", w.url, n+1), nil)
	require.NoError(t, err)
	resp, err := w.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var told []string
	for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
		var line struct {
			Result struct {
				Kind, Change, Message string
			}
		}
		require.NoError(t, json.Unmarshal(scan.Bytes(), &line))
		told = append(told, line.Result.Kind+" "+line.Result.Change)
		if line.Result.Message == "instance web was building, spawning and is active" {
			break
		}
	}
	for _, want := range []string{"instance put", "task put", "claim put", "lock put"} {
		require.Contains(t, told, want)
	}
	require.NotContains(t, told, "alive put")
	other, err := conductorv1.NewStreamsClient(w.conn).Events(metadata.AppendToOutgoingContext(ctx, "x-project", "other"),
		&conductorv1.EventsRequest{FromRevision: n + 1})
	require.NoError(t, err)
	w.done(w.ok(http.StatusAccepted, "DELETE", "/v1/instances/web", ""))
	w.ok(http.StatusOK, "POST", "/v1/hosts/h1:disable", "")
	for {
		e, err := other.Recv()
		require.NoError(t, err)
		require.NotContains(t, []string{"instance", "task"}, e.GetKind(), "another project's")
		if e.GetMessage() == "host h1 was enabled and is disabled" {
			break
		}
	}
}

func TestTheConsoleReachesTheMachine(t *testing.T) {
	w := newWorld(t)
	w.make(tiny)
	console, err := conductorv1.NewStreamsClient(w.conn).Console(t.Context())
	require.NoError(t, err)
	require.NoError(t, console.Send(&conductorv1.ConsoleInput{Instance: "web", Data: []byte("hello\n")}))
	var seen strings.Builder
	for !strings.Contains(seen.String(), "hello") {
		out, err := console.Recv()
		require.NoError(t, err)
		seen.Write(out.GetData())
	}
	nobody, err := conductorv1.NewStreamsClient(w.conn).Console(t.Context())
	require.NoError(t, err)
	require.NoError(t, nobody.Send(&conductorv1.ConsoleInput{Instance: "nobody"}))
	_, err = nobody.Recv()
	require.Equal(t, vm.ReasonNotFound, vm.ReasonOf(rpc.FromStatus(err)))
}

func TestNobodyIsAnsweredBeforeTheStoreWasRead(t *testing.T) {
	w := newUnready(t, func(cfg *conductor.Config) { cfg.Endpoints = []string{"http://127.0.0.1:1"} }) // nothing listens there
	require.Equal(t, http.StatusOK, w.call("GET", "/healthz", "").code)
	ready := w.call("GET", "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, ready.code)
	require.Contains(t, ready.field("message"), "has not read the store yet")
	require.Equal(t, "store_unavailable", w.call("GET", "/v1/instances", "").reason(), "an empty list would be a lie")
	_, err := conductorv1.NewConductorClient(w.conn).ListInstances(t.Context(), &conductorv1.ListInstancesRequest{})
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(rpc.FromStatus(err)))
	health, err := healthv1.NewHealthClient(w.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthv1.HealthCheckResponse_NOT_SERVING, health.GetStatus())
}
