package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld says that a process holds the lock: the machine executes, or may do so in a moment.
var ErrHeld = errors.New("a process of the machine is alive")

// Acquire takes the lock of dir or returns ErrHeld. The lock is held until the last copy of the file is closed, here
// and in every process that inherited it.
func Acquire(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock: %w", err)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, ErrHeld
	}
	return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
}

// Held says whether somebody holds the lock of dir, without touching it.
func Held(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, LockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot open the lock: %w", err)
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return false, fmt.Errorf("cannot look at the lock: %w", err)
	}
	return l.Type != unix.F_UNLCK, nil
}

// WaitFree returns nil when the lock of dir is free (P2: then nothing executes), or the cause of ctx.
func WaitFree(ctx context.Context, dir string) error {
	tick := time.NewTicker(5 * time.Millisecond) // a lock has no event; a machine's end takes some milliseconds
	defer tick.Stop()
	for {
		held, err := Held(dir)
		if err != nil || !held {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the end of %s: %w", filepath.Base(dir), context.Cause(ctx))
		}
	}
}

// KillHolders sends SIGKILL to every process that has the lock file of dir open and is not in this process's session.
// It is the last resort, for where there is no cgroup and for a process that did not come to enter its cgroup: processes
// are found by what they hold, never by a remembered number.
func KillHolders(dir string) error {
	var lock unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, LockFile), &lock); err != nil {
		return fmt.Errorf("cannot look at the lock: %w", err)
	}
	mine, err := unix.Getsid(0)
	if err != nil {
		return fmt.Errorf("cannot tell the own session: %w", err)
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("cannot list processes: %w", err)
	}
	for _, p := range procs {
		var pid int
		if _, err := fmt.Sscan(p.Name(), &pid); err != nil {
			continue
		}
		if sid, err := unix.Getsid(pid); err == nil && sid != mine {
			killIfHolds(pid, lock)
		}
	}
	return nil
}

// killIfHolds opens the process before it looks, so the one it kills is the one it has looked at.
func killIfHolds(pid int, lock unix.Stat_t) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, f := range files {
		var s unix.Stat_t
		if unix.Stat(filepath.Join(dir, f.Name()), &s) == nil && s.Dev == lock.Dev && s.Ino == lock.Ino {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // the lock tells whether it worked
			return
		}
	}
}
