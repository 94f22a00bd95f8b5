package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lock makes dir if it is missing and keeps other processes out of it until release is called or the process ends. It is
// for programs that share a directory with others of their kind by mistake only.
func Lock(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "in-use"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the data directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another process is using it")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot use the data directory %s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}
