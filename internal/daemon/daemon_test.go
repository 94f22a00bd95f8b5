package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"leasehold/internal/daemon"
)

// run executes a program with one command, serve, that needs --name and does work.
func run(t *testing.T, work func(context.Context) error, args ...string) (int, string) {
	t.Helper()
	var said bytes.Buffer
	serve := &cobra.Command{Use: "serve", Args: cobra.NoArgs, RunE: daemon.Body(work)}
	serve.Flags().String("name", "", "")
	require.NoError(t, serve.MarkFlagRequired("name"))
	new(daemon.Log).Flags(serve.Flags())
	root := &cobra.Command{Use: "program"}
	root.AddCommand(serve)
	root.SetErr(&said)
	root.SetOut(&said)
	return daemon.Execute(t.Context(), root, args), said.String()
}

func TestTheExitCodeTellsWhatWentWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		err  error
		want int
		says string
	}{
		"nothing":                 {[]string{"serve", "--name", "c1"}, nil, 0, ""},
		"the work":                {[]string{"serve", "--name", "c1"}, errors.New("cannot go on"), 1, "program: cannot go on\n"},
		"a value that makes none": {[]string{"serve", "--name", "c1"}, daemon.Usagef("cannot use this"), 2, "see: program serve --help"},
		"a flag nobody knows":     {[]string{"serve", "--nam", "c1"}, nil, 2, "unknown flag"},
		"a required flag":         {[]string{"serve"}, nil, 2, `required flag(s) "name" not set`},
		"an argument too many":    {[]string{"serve", "--name", "c1", "x"}, nil, 2, "unknown command"},
		"a file that is missing":  {[]string{"serve", "--name", "c1", "--config", "/nowhere"}, nil, 2, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := run(t, func(context.Context) error { return tt.err }, tt.args...)
			require.Equal(t, tt.want, code)
			require.Contains(t, said, tt.says)
		})
	}
}

func TestARequiredFlagMayComeFromTheEnvironment(t *testing.T) {
	t.Setenv("LEASEHOLD_NAME", "c1")
	code, said := run(t, func(context.Context) error { return nil }, "serve")
	require.Equal(t, daemon.CodeClean, code, said)
}

func TestOnlyLoopbackAddressesAreListenedOn(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "127.0.0.7:0", "localhost:0"} {
		l, err := daemon.Listen(t.Context(), "grpc", address)
		require.NoError(t, err, address)
		require.NoError(t, l.Close())
	}
	for _, address := range []string{"0.0.0.0:7001", ":7001", "[::]:7001", "10.0.0.1:7001", "example.org:7001", "127.0.0.1"} {
		_, err := daemon.Listen(t.Context(), "grpc", address)
		require.ErrorContains(t, err, "--grpc", address)
	}
}

func TestABusyAddressIsNamed(t *testing.T) {
	busy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	_, err = daemon.Listen(t.Context(), "http", busy.Addr().String())
	require.ErrorContains(t, err, busy.Addr().String())
	require.ErrorContains(t, err, "--http")
}

func TestADirectoryIsLockedUntilItIsReleased(t *testing.T) {
	dir := t.TempDir()
	release, err := daemon.Lock(dir)
	require.NoError(t, err)
	_, err = daemon.Lock(dir)
	require.ErrorContains(t, err, "another process")
	require.NoError(t, release())
	release, err = daemon.Lock(dir)
	require.NoError(t, err)
	require.NoError(t, release())
}

func TestLogLinesAreNamedAndInUTC(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	var l daemon.Log
	l.Flags(cmd.Flags())
	log, err := l.New("c1", &out)
	require.NoError(t, err)
	log.Info("started", "tasks", 1)
	require.Contains(t, out.String(), "c1: started: tasks=1")
	require.Contains(t, strings.Fields(out.String())[0], "Z")

	require.NoError(t, cmd.Flags().Set("log-level", "loud"))
	_, err = l.New("c1", &out)
	require.ErrorContains(t, err, "loud")
}
