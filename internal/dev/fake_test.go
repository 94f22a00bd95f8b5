package dev_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// asChild makes this test program play the programs of the cluster; its value is the file that they write what they do.
const asChild = "DEV_TEST_CHILD"

func TestMain(m *testing.M) {
	if log := os.Getenv(asChild); log != "" {
		os.Exit(play(log, os.Args[1:])) //nolint:forbidigo // it is the main of a child
	}
	goleak.VerifyTestMain(m)
}

// play is a child: the first argument says which.
func play(log string, args []string) int {
	flag := func(name string) string {
		for i, a := range args {
			if a == name {
				return args[i+1]
			}
		}
		return ""
	}
	did := func(what string) {
		f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			fmt.Fprintln(f, what)
			f.Close()
		}
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	var name, address string
	paths := map[string]func() string{}
	ok := func() string { return "ok" }
	switch {
	case args[0] == "driver":
		fmt.Fprintln(os.Stdout, "fake (it is a test)")
		return 0
	case args[0] == "purge":
		did("purge " + filepath.Base(flag("--data-dir")))
		return 0
	case args[0] == "etcd":
		name = "etcd"
		address, paths["/health"] = strings.TrimPrefix(flag("--client-url"), "http://"), ok
	case flag("--name") != "":
		name, address, paths["/readyz"] = flag("--name"), flag("--http"), ok
		paths["/v1/hosts"] = func() string { return hosts(log) }
	default:
		name, address = flag("--host"), flag("--listen")
	}
	if strings.Contains(strings.Join(args, " "), "--broken") {
		fmt.Fprintln(os.Stdout, "this flag breaks it")
		return 3
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	did("start " + name + " " + address)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, ok := paths[r.URL.Path]; ok {
				fmt.Fprint(w, body())
				return
			}
			http.NotFound(w, r)
		}))
	}()
	<-told
	did("stop " + name)
	return 0
}

// hosts are those that have started.
func hosts(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	up := []string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "start" && f[1][0] == 'h' {
			up = append(up, fmt.Sprintf(`{"name":%q,"status":"up","address":%q}`, f[1], f[2]))
		}
	}
	return `{"hosts":[` + strings.Join(up, ",") + `]}`
}

// deeds is what the children did, in order.
func deeds(t *testing.T, log string) []string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		did = append(did, f[0]+"-"+f[1])
	}
	return did
}

func newLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deeds")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(asChild, path)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // a child under the race detector would take a second to end
	return path
}
