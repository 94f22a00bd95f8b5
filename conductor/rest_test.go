package conductor_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tiny = `{"name":"web","flavor":"tiny","image":"default"}`

func TestTheWholeLifeOfAnInstanceOverREST(t *testing.T) {
	w := newWorld(t)
	made := w.ok(http.StatusAccepted, "POST", "/v1/instances", `{"name":"web","flavor":"tiny","image":"default","metadata":{"tier":"a"}}`)
	require.Equal(t, "building", made.field("instance", "vm_state"))
	require.Equal(t, "scheduling", made.field("instance", "task_state"))
	require.Equal(t, "c1", made.field("task", "conductor"))
	w.done(made)
	id := made.field("instance", "id")

	shown := w.ok(http.StatusOK, "GET", "/v1/instances/web?min_revision="+made.field("revision"), "")
	require.Equal(t, id, shown.field("id"))
	require.Equal(t, "active", shown.field("vm_state"))
	require.Equal(t, "running", shown.field("power_state"))
	require.Equal(t, "h1", shown.field("host"))
	require.Equal(t, "up", shown.field("host_status"))
	require.Equal(t, map[string]any{"tier": "a"}, shown.at("metadata"))
	require.Empty(t, shown.field("task"))
	w.sound()

	for _, c := range []struct{ verb, body, state, power string }{
		{"pause", "", "paused", "paused"},
		{"unpause", "{}", "active", "running"},
		{"reboot", `{"hard":true}`, "active", "running"},
		{"reboot", "", "active", "running"},
		{"stop", `{"timeout":"5s"}`, "stopped", "shutdown"},
		{"start", " \n", "active", "running"},
		{"stop", `{"force":true}`, "stopped", "shutdown"},
	} {
		w.done(w.ok(http.StatusAccepted, "POST", "/v1/instances/"+id+":"+c.verb, c.body))
		shown = w.ok(http.StatusOK, "GET", "/v1/instances/"+id, "")
		require.Equal(t, c.state, shown.field("vm_state"), c.verb)
		require.Equal(t, c.power, shown.field("power_state"), c.verb)
	}

	gone := w.done(w.ok(http.StatusAccepted, "DELETE", "/v1/instances/"+id, ""))
	require.Equal(t, "delete", gone.field("kind"))
	shown = w.ok(http.StatusOK, "GET", "/v1/instances/"+id, "")
	require.Equal(t, "deleted", shown.field("vm_state"), "a deleted one is shown while its history is kept")
	require.Equal(t, id, w.ok(http.StatusOK, "GET", "/v1/instances/"+id[:23], "").field("id"), "also by the beginning of its id")
	again := w.ok(http.StatusOK, "DELETE", "/v1/instances/"+id, "")
	require.Nil(t, again.at("task"), "nothing is left to do, so there is no task")
	require.Equal(t, http.StatusNotFound, w.call("GET", "/v1/instances/web", "").code, "its name is free")
	require.Empty(t, w.ok(http.StatusOK, "GET", "/v1/instances", "").list("instances"))
	require.Contains(t, w.ok(http.StatusOK, "GET", "/v1/instances/"+id+":explain", "").field("summary"), "was deleted")

	all := w.ok(http.StatusOK, "GET", "/v1/instances/"+id+"/tasks", "").list("tasks")
	var kinds []string
	for _, task := range all {
		kinds = append(kinds, task.field("kind"))
	}
	require.Equal(t, []string{"delete", "stop", "start", "stop", "reboot", "reboot", "unpause", "pause", "create"}, kinds, "newest first")
	require.Equal(t, gone.field("id"), w.ok(http.StatusOK, "GET", "/v1/instances/"+id+"/tasks/"+gone.field("id"), "").field("id"))
	require.Empty(t, w.ok(http.StatusOK, "GET", "/v1/tasks", "").list("tasks"), "closed ones only when asked for")
	require.Len(t, w.ok(http.StatusOK, "GET", "/v1/tasks?closed=true", "").list("tasks"), 9)
	w.sound()
}

func TestWhatIsWrongIsRefusedWithAReasonAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.make(`{"name":"web","flavor":"tiny","image":"default"}`)
	stopped := w.make(`{"name":"off","flavor":"tiny","image":"default"}`)
	w.done(w.ok(http.StatusAccepted, "POST", "/v1/instances/off:stop", ""))
	task := w.ok(http.StatusOK, "GET", "/v1/instances/web/tasks", "").list("tasks")[0].field("id")
	const unknown = "01934f6e-0000-7000-8000-000000000001"
	entries := `"a":"b"`
	for i := range 64 {
		entries += `,"k` + strings.Repeat("x", i) + `":""`
	}
	before := w.dump()
	for _, c := range []struct {
		method, path, body string
		code               int
		reason, says       string
	}{
		{"POST", "/v1/instances", `{"name":"a b","flavor":"tiny","image":"default"}`, 400, "invalid_argument", "cannot name"},
		{"POST", "/v1/instances", `{"name":"` + strings.Repeat("a", 64) + `","flavor":"tiny","image":"default"}`, 400, "invalid_argument", "63"},
		{"POST", "/v1/instances", `{"name":"` + unknown + `","flavor":"tiny","image":"default"}`, 400, "invalid_argument", "form of an id"},
		{"POST", "/v1/instances", `{"image":"default"}`, 400, "invalid_argument", "flavor"},
		{"POST", "/v1/instances", `{"flavor":"tiny"}`, 400, "invalid_argument", "image"},
		{"POST", "/v1/instances", `{"flavor":"huge","image":"default"}`, 404, "not_found", `flavor "huge"`},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"nix"}`, 404, "not_found", `image "nix"`},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"` + unknown + `"}`, 404, "not_found", "image"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","host":"h9"}`, 404, "not_found", `host "h9"`},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","availability":"always"}`, 400, "invalid_argument", "always"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","metadata":{` + entries + `}}`, 400, "invalid_argument", "64"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","metadata":{"":"x"}}`, 400, "invalid_argument", "metadata key"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","metadata":{"a":"` + strings.Repeat("x", 4097) + `"}}`, 400, "invalid_argument", "4096"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","request_id":"` + strings.Repeat("x", 129) + `"}`, 400, "invalid_argument", "128"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default","flavour":"x"}`, 400, "invalid_argument", "flavour"},
		{"POST", "/v1/instances", `{"flavor":7}`, 400, "invalid_argument", "flavor"},
		{"POST", "/v1/instances", `{"flavor":`, 400, "invalid_argument", "JSON"},
		{"POST", "/v1/instances", `{"flavor":"tiny","image":"default"} and more`, 400, "invalid_argument", "JSON"},
		{"POST", "/v1/instances", `[]`, 400, "invalid_argument", "cannot read the request"},
		{"POST", "/v1/instances", `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "too_large", "1048576"},
		{"POST", "/v1/instances", `{"name":"web","flavor":"tiny","image":"default"}`, 409, "already_exists", `"web"`},
		{"POST", "/v1/instances?name=x", tiny, 400, "invalid_argument", "body"},

		{"GET", "/v1/instances/nobody", "", 404, "not_found", "nobody"},
		{"GET", "/v1/instances/" + unknown, "", 404, "not_found", unknown},
		{"POST", "/v1/instances/nobody:stop", "", 404, "not_found", "nobody"},
		{"POST", "/v1/instances/web:start", "", 409, "state_forbids", "running"},
		{"POST", "/v1/instances/off:pause", "", 409, "state_forbids", "start it first"},
		{"POST", "/v1/instances/web:stop", `{"timeout":"3601s"}`, 400, "invalid_argument", "1h"},
		{"POST", "/v1/instances/web:stop", `{"timeout":"-1s"}`, 400, "invalid_argument", "0s"},
		{"POST", "/v1/instances/web:stop", `{"timeout":"soon"}`, 400, "invalid_argument", "soon"},
		{"POST", "/v1/instances/web:dance", "", 404, "not_found", "dance"},
		{"GET", "/v1/instances/web:stop", "", 405, "invalid_argument", "POST"},
		{"PUT", "/v1/instances/web", "", 405, "invalid_argument", "GET"},
		{"GET", "/v1/nothing", "", 404, "not_found", "/v1/nothing"},
		{"GET", "/", "", 404, "not_found", "no such path"},
		{"PATCH", "/v1/instances/web", `{"name":"off"}`, 409, "already_exists", `"off"`},
		{"PATCH", "/v1/instances/web", `{"name":"!"}`, 400, "invalid_argument", "cannot name"},
		{"PATCH", "/v1/instances/web", `{"name":"new","if_revision":"1"}`, 409, "in_use", "revision"},
		{"GET", "/v1/instances/web?colour=red", "", 400, "invalid_argument", "colour"},

		{"GET", "/v1/instances?state=happy", "", 400, "invalid_argument", "happy"},
		{"GET", "/v1/instances?sort=size", "", 400, "invalid_argument", "size"},
		{"GET", "/v1/instances?page_size=1001", "", 400, "invalid_argument", "1000"},
		{"GET", "/v1/instances?page_size=-1", "", 400, "invalid_argument", "1000"},
		{"GET", "/v1/instances?page_size=many", "", 400, "invalid_argument", "page_size"},
		{"GET", "/v1/instances?page_token=zzz", "", 400, "invalid_argument", "zzz"},
		{"GET", "/v1/instances?min_revision=-1", "", 400, "invalid_argument", "below zero"},
		{"GET", "/v1/instances?%zz", "", 400, "invalid_argument", "query"},
		{"GET", "/v1/tasks?status=busy", "", 400, "invalid_argument", "busy"},
		{"GET", "/v1/tasks?kind=dance", "", 400, "invalid_argument", "dance"},

		{"GET", "/v1/tasks/" + unknown, "", 404, "not_found", unknown},
		{"GET", "/v1/tasks/" + unknown + ":wait", "", 404, "not_found", unknown},
		{"GET", "/v1/tasks/" + unknown + ":watch", "", 404, "not_found", unknown},
		{"POST", "/v1/tasks/" + unknown + ":cancel", "", 404, "not_found", unknown},
		{"GET", "/v1/tasks/" + task + ":wait?timeout=601s", "", 400, "invalid_argument", "10m"},
		{"POST", "/v1/tasks/" + task + ":cancel", "", 409, "too_late", "succeeded"},
		{"GET", "/v1/instances/off/tasks/" + task, "", 404, "not_found", "another"},
		{"GET", "/v1/events?from_revision=-1", "", 400, "invalid_argument", "below zero"},
		{"GET", "/v1/events?instance=nobody", "", 404, "not_found", "nobody"},

		{"POST", "/v1/images", `{"name":"x","url":"ftp://x/y"}`, 400, "invalid_argument", "ftp"},
		{"POST", "/v1/images", `{"name":"x","url":"file://host/y"}`, 400, "invalid_argument", "file"},
		{"POST", "/v1/images", `{"name":"x","url":"builtin:boot0","format":"iso"}`, 400, "invalid_argument", "iso"},
		{"POST", "/v1/images", `{"name":"x","url":"builtin:boot0","sha256":"12"}`, 400, "invalid_argument", "64"},
		{"POST", "/v1/images", `{"name":"default","url":"builtin:boot0"}`, 409, "already_exists", "default"},
		{"DELETE", "/v1/images/default", "", 409, "in_use", "made from it"},
		{"GET", "/v1/images/nix", "", 404, "not_found", "nix"},
		{"POST", "/v1/flavors", `{"name":"x","vcpus":0,"memory_mib":1,"disk_gib":1}`, 400, "invalid_argument", "vcpus"},
		{"POST", "/v1/flavors", `{"name":"x","vcpus":257,"memory_mib":1,"disk_gib":1}`, 400, "invalid_argument", "256"},
		{"POST", "/v1/flavors", `{"name":"x","vcpus":1,"memory_mib":16777217,"disk_gib":1}`, 400, "invalid_argument", "memory_mib"},
		{"POST", "/v1/flavors", `{"name":"x","vcpus":1,"memory_mib":1,"disk_gib":99999999999}`, 400, "invalid_argument", "99999999999"},
		{"POST", "/v1/flavors", `{"name":"tiny","vcpus":1,"memory_mib":1,"disk_gib":1}`, 409, "already_exists", "tiny"},
		{"GET", "/v1/flavors/huge", "", 404, "not_found", "huge"},
		{"DELETE", "/v1/flavors/huge", "", 404, "not_found", "huge"},
		{"GET", "/v1/hosts/h9", "", 404, "not_found", "h9"},
		{"POST", "/v1/hosts/h9:disable", "", 404, "not_found", "h9"},

		{"POST", "/v1/instances/nobody:suspend", "", 404, "not_found", "nobody"},
		{"POST", "/v1/instances/web:rebuild", `{"image":"nix"}`, 404, "not_found", "nix"},
		{"POST", "/v1/instances/web:rescue", `{"image":"nix"}`, 404, "not_found", "nix"},
		{"POST", "/v1/instances/web:snapshot", "", 400, "invalid_argument", "without a name"},
		{"POST", "/v1/instances/web:snapshot", `{"name":"default"}`, 409, "already_exists", "default"},
		{"POST", "/v1/instances/web:resume", "", 409, "state_forbids", "running"},
		{"POST", "/v1/instances/web:unrescue", "", 409, "state_forbids", "own disk"},
		{"POST", "/v1/instances/web:move", `{"mode":"live"}`, 501, "unsupported", "not built"},
		{"POST", "/v1/instances/web:attachVolume", `{"volume":"v"}`, 501, "unsupported", "not built"},
		{"POST", "/v1/instances/web:setPassword", `{}`, 400, "invalid_argument", "empty"},
		{"POST", "/v1/instances/web:setPassword", `{"password":"` + strings.Repeat("x", 129) + `"}`, 400, "invalid_argument", "at most 128"},
		{"POST", "/v1/instances/web:setPassword", `{"password":"p","user":"a b"}`, 400, "invalid_argument", "user"},
		{"POST", "/v1/hosts/h1:drain", "", 501, "unsupported", "not built"},
		{"POST", "/v1/hosts/h1:confirmFenced", "", 400, "invalid_argument", "reason"},
		{"POST", "/v1/hosts/h1:confirmFenced", `{"reason":"unplugged"}`, 409, "in_use", "it is up"},
		{"DELETE", "/v1/hosts/h1", "", 409, "in_use", "cannot delete host h1"},
		{"DELETE", "/v1/hosts/h9", "", 404, "not_found", "h9"},
		{"GET", "/v1/volumes", "", 501, "unsupported", "not built"},
		{"POST", "/v1/volumes/v:attach", "", 501, "unsupported", "not built"},
		{"POST", "/v1/ports", "{}", 501, "unsupported", "not built"},
		{"DELETE", "/v1/networks/n", "", 501, "unsupported", "not built"},
	} {
		name := c.method + " " + c.path + " " + c.body[:min(len(c.body), 60)]
		a := w.call(c.method, c.path, c.body)
		require.Equal(t, c.code, a.code, "%s: %s", name, a.raw)
		require.Equal(t, c.reason, a.reason(), name)
		require.Contains(t, a.field("message"), c.says, name)
		require.Equal(t, "application/json", a.header.Get("Content-Type"), name)
	}
	for _, h := range []header{
		{"Idempotency-Key", strings.Repeat("x", 129)}, {"Idempotency-Key", "schlüssel"}, {"X-Project", "a/b"},
	} {
		a := w.call("POST", "/v1/instances", tiny, h)
		require.Equal(t, http.StatusBadRequest, a.code, h.name)
		require.Equal(t, "invalid_argument", a.reason(), h.name)
	}
	require.Equal(t, before, w.dump())

	already := w.call("POST", "/v1/instances/"+stopped+":stop", "")
	require.Equal(t, "true", already.fact("already"))
	require.Contains(t, already.fact("allowed"), "start")
	require.Equal(t, "GET, DELETE, PATCH", sortedAllow(w.call("PUT", "/v1/instances/"+id, "").header.Get("Allow")))
}

// sortedAllow has the methods in one order.
func sortedAllow(allow string) string {
	var out []string
	for _, m := range []string{"GET", "POST", "DELETE", "PATCH"} {
		if strings.Contains(allow, m) {
			out = append(out, m)
		}
	}
	return strings.Join(out, ", ")
}

func TestAKeyOrdersOnce(t *testing.T) {
	w := newWorld(t)
	key := header{"Idempotency-Key", "deploy 42"}
	first := w.ok(http.StatusAccepted, "POST", "/v1/instances", tiny, key)
	second := w.ok(http.StatusAccepted, "POST", "/v1/instances", `{ "request_id":"deploy 42","image":"default","flavor":"tiny","name":"web" }`)
	require.Equal(t, first.field("task", "id"), second.field("task", "id"))
	require.Equal(t, first.field("instance", "id"), second.field("instance", "id"))
	w.done(first)
	third := w.ok(http.StatusAccepted, "POST", "/v1/instances", tiny, key)
	require.Equal(t, first.field("task", "id"), third.field("task", "id"), "also when it has ended")

	other := w.call("POST", "/v1/instances", `{"name":"db","flavor":"tiny","image":"default"}`, key)
	require.Equal(t, http.StatusConflict, other.code)
	require.Equal(t, "key_reused", other.reason())
	require.Equal(t, first.field("task", "id"), other.fact("task"))
	two := w.call("POST", "/v1/instances", `{"flavor":"tiny","image":"default","request_id":"another"}`, key)
	require.Equal(t, "invalid_argument", two.reason())
	elsewhere := w.ok(http.StatusAccepted, "POST", "/v1/instances", tiny, key, header{"X-Project", "other"})
	require.NotEqual(t, first.field("task", "id"), elsewhere.field("task", "id"), "keys are per project")

	gone := header{"Idempotency-Key", "bye"}
	del := w.ok(http.StatusAccepted, "DELETE", "/v1/instances/"+first.field("instance", "id"), "", gone)
	w.done(del)
	again := w.ok(http.StatusAccepted, "DELETE", "/v1/instances/"+first.field("instance", "id"), "", gone)
	require.Equal(t, del.field("task", "id"), again.field("task", "id"))
	w.sound()
}

func TestAProjectSeesItsOwnOnly(t *testing.T) {
	w := newWorld(t)
	id := w.make(tiny)
	task := w.ok(http.StatusOK, "GET", "/v1/instances/"+id+"/tasks", "").list("tasks")[0].field("id")
	other := header{"X-Project", "other"}
	for _, path := range []string{
		"/v1/instances/" + id, "/v1/instances/web", "/v1/instances/" + id + "/actions", "/v1/tasks/" + task, "/v1/tasks/" + task + ":wait",
		"/v1/tasks/" + task + ":watch",
	} {
		require.Equal(t, "not_found", w.call("GET", path, "", other).reason(), path)
	}
	require.Equal(t, "not_found", w.call("POST", "/v1/instances/"+id+":stop", "", other).reason())
	require.Equal(t, "not_found", w.call("DELETE", "/v1/instances/"+id, "", other).reason())
	require.Equal(t, "not_found", w.call("POST", "/v1/tasks/"+task+":cancel", "", other).reason())
	require.Empty(t, w.ok(http.StatusOK, "GET", "/v1/instances", "", other).list("instances"))
	require.Empty(t, w.ok(http.StatusOK, "GET", "/v1/tasks?closed=true", "", other).list("tasks"))

	require.Len(t, w.ok(http.StatusOK, "GET", "/v1/images", "", other).list("images"), 1, "images of the default project are everybody's")
	require.Equal(t, "permission_denied", w.call("DELETE", "/v1/images/default", "", other).reason())
	own := w.ok(http.StatusCreated, "POST", "/v1/images", `{"name":"own","url":"builtin:boot0"}`, other)
	require.Equal(t, "not_found", w.call("GET", "/v1/images/"+own.field("id"), "").reason())
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	w := newHeadless(t)
	var page struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.ok(http.StatusOK, "GET", "/openapi.json", "").raw), &page))
	for _, route := range []string{
		"post /v1/instances", "get /v1/instances", "get /v1/instances/{id}", "patch /v1/instances/{id}", "delete /v1/instances/{id}",
		"post /v1/instances/{id}:stop", "post /v1/instances/{id}:start", "post /v1/instances/{id}:reboot", "post /v1/instances/{id}:pause",
		"post /v1/instances/{id}:unpause", "post /v1/instances/{id}:suspend", "post /v1/instances/{id}:resume",
		"post /v1/instances/{id}:rescue", "post /v1/instances/{id}:unrescue", "post /v1/instances/{id}:rebuild",
		"post /v1/instances/{id}:snapshot", "post /v1/instances/{id}:move", "post /v1/instances/{id}:attachVolume",
		"post /v1/instances/{id}:detachVolume", "post /v1/instances/{id}:attachPort", "post /v1/instances/{id}:detachPort",
		"post /v1/instances/{id}:setPassword", "get /v1/instances/{id}/actions", "get /v1/instances/{id}:explain",
		"get /v1/instances/{id}/tasks", "get /v1/instances/{id}/tasks/{task}", "get /v1/tasks", "get /v1/tasks/{id}",
		"post /v1/tasks/{id}:cancel", "get /v1/tasks/{id}:wait", "get /v1/tasks/{id}:watch", "get /v1/images", "get /v1/flavors",
		"get /v1/hosts", "post /v1/hosts/{id}:drain", "post /v1/hosts/{id}:enable", "post /v1/hosts/{id}:disable",
		"post /v1/hosts/{id}:confirmFenced", "get /v1/locks", "get /v1/conductors", "get /v1/events", "get /v1/fsm", "get /v1/check",
	} {
		method, path, _ := strings.Cut(route, " ")
		require.Contains(t, page.Paths, path)
		require.Contains(t, page.Paths[path], method, path)
		concrete := strings.NewReplacer("{id}", "nobody", "{task}", "nothing").Replace(path)
		if strings.HasSuffix(path, "/events") {
			continue // it does not end by itself
		}
		a := w.call(strings.ToUpper(method), concrete, "")
		require.NotContains(t, a.field("message"), "no such path", route)
		require.NotEqual(t, http.StatusMethodNotAllowed, a.code, route)
	}
}

// P5: one idempotency key is one password, also when the key stands in a header; the record of the key does not tell which.
func TestAKeySetsOnePassword(t *testing.T) {
	w := newWorld(t)
	id := w.call("POST", "/v1/instances", `{"name":"web","flavor":"tiny","image":"default"}`).field("instance", "id")
	w.await("web is active", func() bool { return w.call("GET", "/v1/instances/"+id, "").field("vm_state") == "active" })
	set := func(password string) answer {
		return w.call("POST", "/v1/instances/"+id+":setPassword", `{"password":"`+password+`"}`, header{"Idempotency-Key", "k1"})
	}
	first := set("swordfish")
	require.Equal(t, http.StatusAccepted, first.code, first.raw)
	again := set("swordfish")
	require.Equal(t, first.field("task", "id"), again.field("task", "id"), again.raw)
	other := set("marlin")
	require.Equal(t, http.StatusConflict, other.code, other.raw)
	require.Equal(t, "key_reused", other.reason())
	kv, err := w.store.Get(t.Context(), w.keys.Request("default", "k1"))
	require.NoError(t, err)
	require.NotContains(t, string(kv.Value), "swordfish")
}
