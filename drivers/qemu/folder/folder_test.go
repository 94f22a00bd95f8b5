package folder_test

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/folder"
)

func TestJSONIsReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	var got map[string]int
	require.ErrorIs(t, folder.ReadJSON(dir, "a.json", &got), fs.ErrNotExist)
	for i := range 3 {
		require.NoError(t, folder.WriteJSON(dir, "a.json", map[string]int{"a": i}))
		require.NoError(t, folder.ReadJSON(dir, "a.json", &got))
		require.Equal(t, i, got["a"])
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing half-made is left")
}

func TestLockIsHeldUntilTheLastCopyIsClosed(t *testing.T) {
	dir := t.TempDir()
	requireHeld(t, dir, false)
	lock, err := folder.Acquire(dir)
	require.NoError(t, err)
	requireHeld(t, dir, true)
	_, err = folder.Acquire(dir)
	require.ErrorIs(t, err, folder.ErrHeld)

	in, out, err := os.Pipe()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), "cat")
	child.Stdin, child.ExtraFiles = in, []*os.File{lock}
	require.NoError(t, child.Start())
	require.NoError(t, in.Close())
	require.NoError(t, lock.Close())
	requireHeld(t, dir, true)
	ended, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, folder.WaitFree(ended, dir), context.DeadlineExceeded)

	require.NoError(t, out.Close())
	require.NoError(t, child.Wait())
	require.NoError(t, folder.WaitFree(t.Context(), dir))
	lock, err = folder.Acquire(dir)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func TestKillHoldersKillsWhoHoldsTheLockAndNobodyElse(t *testing.T) {
	dir := t.TempDir()
	lock, err := folder.Acquire(dir)
	require.NoError(t, err)
	holder := detached(t, lock)
	other := detached(t)
	require.NoError(t, lock.Close())
	require.NoError(t, folder.KillHolders(dir))
	require.ErrorContains(t, holder.Wait(), "killed")
	require.NoError(t, folder.WaitFree(t.Context(), dir))
	require.NoError(t, other.Process.Signal(os.Interrupt))
	require.ErrorContains(t, other.Wait(), "interrupt")
}

func requireHeld(t *testing.T, dir string, want bool) {
	t.Helper()
	held, err := folder.Held(dir)
	require.NoError(t, err)
	require.Equal(t, want, held)
}

func TestSocketsWorkInFoldersOfAnyDepth(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 60))
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for range 2 { // the second takes the place of the first
		f, err := folder.Listen(dir, "qmp")
		require.NoError(t, err)
		l, err := net.FileListener(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		conn, err := folder.Dial(t.Context(), dir, "qmp")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, l.Close())
		_, err = folder.Dial(t.Context(), dir, "qmp")
		require.Error(t, err)
	}
}

func TestForgottenNamesAreGoneAndRenamedOnesTakeThePlaceOfOthers(t *testing.T) {
	dir := t.TempDir()
	requireHas := func(name string, want bool) {
		t.Helper()
		has, err := folder.Has(dir, name)
		require.NoError(t, err)
		require.Equal(t, want, has)
	}
	require.NoError(t, folder.Write(dir, "a", []byte("a")))
	require.NoError(t, folder.Write(dir, "b", []byte("b")))
	require.NoError(t, folder.SyncFile(dir, "a"))
	require.NoError(t, folder.Rename(dir, "a", "b"))
	requireHas("a", false)
	content, err := os.ReadFile(filepath.Join(dir, "b"))
	require.NoError(t, err)
	require.Equal(t, "a", string(content))
	require.NoError(t, folder.Forget(dir, "b", "what was never there"))
	requireHas("b", false)
	require.ErrorIs(t, folder.Rename(dir, "a", "b"), fs.ErrNotExist)
	require.ErrorIs(t, folder.SyncFile(dir, "a"), fs.ErrNotExist)
}
