package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"leasehold/coord"
	"leasehold/internal/daemon"
)

// run executes the program until ctx ends.
func run(ctx context.Context, args ...string) (code int, said string) {
	var b bytes.Buffer
	root := &cobra.Command{Use: "conductor"}
	root.AddCommand(serveCommand(), etcdCommand(), devCommand())
	root.SetOut(&b)
	root.SetErr(&b)
	return daemon.Execute(ctx, root, args), b.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// startEtcd runs a store until stop is called, which returns its exit code.
func startEtcd(t *testing.T, dir, client string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // until the cleanup has waited for it
	done, peer := make(chan int, 1), freeAddress(t)
	go func() {
		code, said := run(ctx, "etcd", "--data-dir", dir, "--client-url", "http://"+client,
			"--peer-url", "http://"+peer, "--tick", "10ms", "--election", "100ms", "--log-level", "off")
		if code != daemon.CodeClean {
			t.Error(said)
		}
		done <- code
	}()
	stop = func() int {
		cancel()
		select {
		case code := <-done:
			done <- code
			return code
		case <-time.After(time.Minute):
			t.Error("the store did not stop")
			return -1
		}
	}
	t.Cleanup(func() { stop() })
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + client + "/health")
		if err != nil {
			return false
		}
		return resp.StatusCode == http.StatusOK && resp.Body.Close() == nil
	}, time.Minute, 20*time.Millisecond)
	return stop
}

func TestTheStoreKeepsWhatItHasAndIsNotOpenedTwice(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	stop := startEtcd(t, dir, address)
	client, err := coord.Dial([]string{"http://" + address}, nil)
	require.NoError(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = client.Put(ctx, "a", "1")
	require.NoError(t, err)

	code, said := run(ctx, "etcd", "--data-dir", dir, "--client-url", "http://"+freeAddress(t),
		"--peer-url", "http://"+freeAddress(t), "--log-level", "off")
	require.Equal(t, daemon.CodeFailure, code)
	require.Contains(t, said, "another process is using it")
	require.Equal(t, daemon.CodeClean, stop())

	startEtcd(t, dir, address)
	got, err := client.Get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(got.Kvs[0].Value))
}

func TestTheStoreCompactsAndHasAQuota(t *testing.T) {
	s := store{
		name: "e1", dataDir: t.TempDir(), clientURL: "http://127.0.0.1:2379", peerURL: "http://127.0.0.1:2380",
		initialState: "new", tick: 100 * time.Millisecond, election: time.Second, compaction: 5 * time.Minute, quotaGiB: 4,
	}
	cfg, err := s.config()
	require.NoError(t, err)
	require.Equal(t, "periodic", cfg.AutoCompactionMode)
	require.Equal(t, "5m0s", cfg.AutoCompactionRetention)
	require.Equal(t, int64(4<<30), cfg.QuotaBackendBytes)
	require.Equal(t, "e1=http://127.0.0.1:2380", cfg.InitialCluster)
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	etcd := []string{"etcd", "--data-dir", t.TempDir()}
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"a store for everybody":          {append(etcd, "--client-url", "http://0.0.0.0:2379"), "--client-url"},
		"a store without a scheme":       {append(etcd, "--peer-url", "127.0.0.1:2380"), "--peer-url"},
		"a store with TLS":               {append(etcd, "--client-url", "https://127.0.0.1:2379"), "--client-url"},
		"a store without room":           {append(etcd, "--quota-gib", "0"), "--quota-gib"},
		"a store that cannot elect":      {append(etcd, "--election", "100ms"), "election"},
		"a store with a third state":     {append(etcd, "--initial-cluster-state", "old"), "old"},
		"a conductor for everybody":      {[]string{"serve", "--name", "c1", "--grpc", ":7001"}, "--grpc"},
		"a session too short":            {[]string{"serve", "--name", "c1", "--session-ttl", "1s"}, "--session-ttl"},
		"a session of half a second":     {[]string{"serve", "--name", "c1", "--host-ttl", "2500ms"}, "--host-ttl"},
		"a conductor that does nothing":  {[]string{"serve", "--name", "c1", "--max-tasks", "0"}, "--max-tasks"},
		"a conductor without a name":     {[]string{"serve"}, "name"},
		"a cluster without hosts":        {[]string{"dev", "--computes", "0"}, "0 hosts"},
		"a level that hclog has not":     {[]string{"serve", "--name", "c1", "--log-level", "loud"}, "loud"},
		"a word where there are no more": {[]string{"serve", "--name", "c1", "c2"}, "c2"},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := run(t.Context(), tt.args...)
			require.Equal(t, daemon.CodeUsage, code, said)
			require.Contains(t, said, tt.says)
		})
	}
}
