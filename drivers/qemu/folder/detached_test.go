package folder_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// detached starts a process in a session of its own that holds files open until it is killed, or the test's process dies.
func detached(t *testing.T, files ...*os.File) *exec.Cmd {
	t.Helper()
	in, out, err := os.Pipe()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), "cat")
	child.Stdin, child.ExtraFiles = in, files
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, child.Start())
	require.NoError(t, in.Close())
	t.Cleanup(func() { out.Close() })
	return child
}
