package shim_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"leasehold/drivers/qemu/cgroup"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/shim"
	"leasehold/drivers/qemu/shim/shimtest"
)

const patience = 60 * time.Second

func TestMain(m *testing.M) {
	shimtest.Intercept()
	goleak.VerifyTestMain(m)
}

// spawn starts a shell command as the hypervisor of a new folder.
func spawn(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, shim.Spawn(shimtest.Command(), dir, launch(script)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		_ = shim.Kill(ctx, dir, shim.Stop)
		require.NoError(t, folder.WaitFree(ctx, dir))
	})
	return dir
}

func launch(script string) shim.Launch {
	return shim.Launch{Program: "/bin/sh", Args: []string{"-c", script}, Listeners: []string{folder.QMP}}
}

// ends waits for the end and returns what was written about it.
func ends(t *testing.T, dir string) shim.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, folder.WaitFree(ctx, dir))
	e, err := shim.ReadExit(dir)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), e.At, patience)
	return e
}

// lives waits for the hypervisor's process.
func lives(t *testing.T, dir string) (pid int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(filepath.Join(dir, folder.PIDFile)); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			require.NoError(t, err)
			return pid
		}
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(t, "no process appears")
		}
	}
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), ") ")
	ppid, err := strconv.Atoi(strings.Fields(rest)[1])
	require.NoError(t, err)
	return ppid
}

const forEver = "exec sleep 1000000"

func TestExitIsWrittenDown(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   shim.Exit
		clean  bool
		word   string
	}{
		"clean":  {"exit 0", shim.Exit{}, true, "exit status 0"},
		"bad":    {"exit 3", shim.Exit{Code: 3}, false, "exit status 3"},
		"signal": {"kill -SEGV $$", shim.Exit{Signal: 11}, false, "signal 11"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ends(t, spawn(t, c.script))
			got.At = time.Time{}
			require.Equal(t, c.want, got)
			require.Equal(t, c.clean, got.Clean())
			require.Equal(t, c.word, got.String())
		})
	}
}

func TestAHypervisorThatCannotBeStartedIsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, shim.Spawn(shimtest.Command(), dir, shim.Launch{Program: "/no/such/program"}))
	got := ends(t, dir)
	require.Contains(t, got.Error, "cannot start the hypervisor")
	require.False(t, got.Clean())
}

func TestKillEndsTheHypervisorAndSaysWhy(t *testing.T) {
	dir := spawn(t, forEver)
	require.NoError(t, shim.Kill(t.Context(), dir, shim.Stop))
	got := ends(t, dir)
	require.Equal(t, 9, got.Signal)
	require.Equal(t, shim.Stop, got.Asked)
	require.True(t, got.Clean(), "it was wanted")
	require.Error(t, shim.Kill(t.Context(), dir, shim.Stop), "nobody is left to ask")
}

func TestKillEndsAStoppedHypervisor(t *testing.T) {
	dir := spawn(t, forEver)
	require.NoError(t, syscall.Kill(lives(t, dir), syscall.SIGSTOP))
	require.NoError(t, shim.Kill(t.Context(), dir, shim.Interrupt))
	require.False(t, ends(t, dir).Clean())
}

func TestKillEndsWithItsContextWhenTheShimHangs(t *testing.T) {
	dir := spawn(t, forEver)
	pid := parent(t, lives(t, dir))
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, shim.Kill(ctx, dir, shim.Stop), context.DeadlineExceeded)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
}

func TestTheHypervisorDiesWithItsShim(t *testing.T) {
	dir := spawn(t, forEver)
	require.NoError(t, syscall.Kill(parent(t, lives(t, dir)), syscall.SIGKILL))
	require.NoError(t, folder.WaitFree(t.Context(), dir), "the hypervisor holds the lock too")
	_, err := shim.ReadExit(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestATerminatedShimTakesTheHypervisorAlong(t *testing.T) {
	dir := spawn(t, forEver)
	require.NoError(t, syscall.Kill(parent(t, lives(t, dir)), syscall.SIGTERM))
	require.Equal(t, shim.Terminated, ends(t, dir).Asked)
}

func TestASecondShimIsRefusedWhileOneLives(t *testing.T) {
	dir := spawn(t, forEver)
	require.ErrorIs(t, shim.Spawn(shimtest.Command(), dir, launch("exit 0")), folder.ErrHeld)
	require.NoError(t, shim.Kill(t.Context(), dir, shim.Stop))
	require.NoError(t, folder.WaitFree(t.Context(), dir))
	require.NoError(t, shim.Spawn(shimtest.Command(), dir, launch("exit 4")))
	require.Equal(t, 4, ends(t, dir).Code)
}

func TestTheHypervisorGetsItsSocketsAndNothingElse(t *testing.T) {
	t.Setenv("LEASEHOLD_SECRET", "x")
	in, out, err := os.Pipe() // something that the agent has inherited
	require.NoError(t, err)
	defer in.Close()
	defer out.Close()
	_, err = unix.FcntlInt(out.Fd(), unix.F_SETFD, 0)
	require.NoError(t, err)
	dir := spawn(t, `ls /proc/$$/fd >fds; readlink /proc/self/fd/3 >three; env >environment; pwd >cwd`)
	ends(t, dir)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return strings.TrimSpace(string(b))
	}
	fds := slices.DeleteFunc(strings.Fields(read("fds")), func(fd string) bool { return fd == "10" }) // the shell's own
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, fds, "stdio, qmp and the lock")
	require.Contains(t, read("three"), "socket:")
	require.NotContains(t, read("environment"), "LEASEHOLD_")
	require.Equal(t, dir, read("cwd"))
}

func TestEverythingOfAGroupIsKilled(t *testing.T) {
	tree, ok := cgroup.Find()
	if !ok { // then there is nothing to prove; the lock alone is the proof there
		return
	}
	group := tree.Group("test-" + strconv.Itoa(os.Getpid()))
	dir := t.TempDir()
	l := launch("sleep 1000000 & sleep 1000000")
	l.Cgroup = group
	for range 2 { // a group can be used again after it was killed
		require.NoError(t, shim.Spawn(shimtest.Command(), dir, l))
		lives(t, dir)
		procs, err := os.ReadFile(filepath.Join(string(group.Qemu()), "cgroup.procs"))
		require.NoError(t, err)
		require.NotEmpty(t, procs)
		require.NoError(t, group.Kill(t.Context()))
		require.NoError(t, folder.WaitFree(t.Context(), dir))
		require.NoError(t, folder.Remove(dir, folder.PIDFile))
	}
	require.NoError(t, group.Remove())
	require.NoDirExists(t, string(group))
	require.NoError(t, group.Remove())
	require.NoError(t, group.Kill(t.Context()))
}

func TestMainRefusesToBeStartedByHand(t *testing.T) {
	require.Equal(t, 2, shim.Main(nil))
}
