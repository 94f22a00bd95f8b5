package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
)

// terminal is the two ends of one: what is written to keys is typed at the other.
func terminal(t *testing.T) (keys, process *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	process, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = process.Close() })
	return keys, process
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	require.NoError(t, err)
	return state.Lflag&unix.ECHO != 0
}

// hidden waits until the process reads what is typed without showing it.
func hidden(t *testing.T, terminal *os.File) {
	t.Helper()
	require.Eventually(t, func() bool { return !echoes(t, terminal) }, clitest.Patience, 5*time.Millisecond)
}

// setPassword starts set-password at a terminal and reads on from its question.
func setPassword(t *testing.T, cluster *clitest.Cluster, process *os.File) (cmd *exec.Cmd, says *bufio.Reader) {
	t.Helper()
	cmd, _, _ = vmctl(t.Context(), t, cluster.Start(t).Address, "instance", "set-password", "web-0")
	cmd.Stdin, cmd.Stderr = process, nil
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	says = bufio.NewReader(stderr)
	reads(t, says, "New password: ")
	hidden(t, process)
	return cmd, says
}

func reads(t *testing.T, from io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(from, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func TestAPasswordIsTypedWithoutBeingShown(t *testing.T) {
	keys, process := terminal(t)
	cluster := clitest.New()
	cmd, says := setPassword(t, cluster, process)
	_, err := io.WriteString(keys, "s3cret\n")
	require.NoError(t, err)
	reads(t, says, "\nOnce more: ")
	hidden(t, process)
	_, err = io.WriteString(keys, "s3cret\n")
	require.NoError(t, err)
	reads(t, says, "\n")
	require.NoError(t, cmd.Wait())
	require.True(t, echoes(t, process))
	req := cluster.Calls("SetPasswordInstance")[0].Request.(*conductorv1.SetPasswordRequest)
	require.Equal(t, "s3cret", req.GetPassword())
}

func TestCtrlCAtAPasswordLeavesATerminalThatShowsWhatIsTyped(t *testing.T) {
	_, process := terminal(t)
	cluster := clitest.New()
	cmd, says := setPassword(t, cluster, process)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	rest, err := io.ReadAll(says)
	require.NoError(t, err)
	require.Contains(t, string(rest), "error: ")
	require.Error(t, cmd.Wait())
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	require.True(t, echoes(t, process))
	require.Empty(t, cluster.Calls("SetPasswordInstance"))
}
