package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/cli/clitest"
)

// asVmctl in the environment makes the test binary vmctl itself.
const asVmctl = "LEASEHOLD_TEST_AS_VMCTL"

func TestMain(m *testing.M) {
	if os.Getenv(asVmctl) != "" {
		main()
	}
	os.Exit(m.Run())
}

func vmctl(ctx context.Context, t *testing.T, server string, args ...string) (cmd *exec.Cmd, out, err *bytes.Buffer) {
	t.Helper()
	cmd = exec.CommandContext(ctx, os.Args[0], args...)
	out, err = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, err
	cmd.Env = []string{asVmctl + "=1", "LEASEHOLD_SERVER=" + server, "XDG_CONFIG_HOME=" + t.TempDir()}
	return cmd, out, err
}

func TestTheProcessEndsWithTheCodeOfTheCommand(t *testing.T) {
	cluster := clitest.New()
	server := cluster.Start(t).Address
	list, out, _ := vmctl(t.Context(), t, server, "instance", "list")
	require.NoError(t, list.Run())
	require.Contains(t, out.String(), "web-0")

	show, out, err := vmctl(t.Context(), t, server, "instance", "show", "nobody")
	require.Error(t, show.Run())
	require.Equal(t, 3, show.ProcessState.ExitCode())
	require.Empty(t, out.String())
	require.Contains(t, err.String(), "error: ")
}

func TestSIGINTLeavesTheTaskRunning(t *testing.T) {
	cluster := clitest.New()
	stop, out, err := vmctl(t.Context(), t, cluster.Start(t).Address, "instance", "stop", "web-0", "--wait")
	require.NoError(t, stop.Start())
	cluster.Await(t, "WatchTask", 1)
	require.NoError(t, stop.Process.Signal(syscall.SIGINT))
	require.Error(t, stop.Wait())
	require.Equal(t, 130, stop.ProcessState.ExitCode())
	require.Empty(t, out.String())
	require.Contains(t, err.String(), "vmctl task watch 01934f11-")
	require.Empty(t, cluster.Calls("CancelTask"))
}
