package folder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The names in a machine's folder.
const (
	Spec      = "spec.json"
	Disk      = "disk.qcow2"
	LockFile  = "lock"
	Launch    = "launch.json"
	Exit      = "exit.json"
	PIDFile   = "pidfile"
	QMP       = "qmp"
	QMP2      = "qmp2"
	Serial    = "ser"
	SerialLog = "ser.log"
	Agent     = "qga"
	Control   = "shim"
	QEMULog   = "qemu.log"
	ShimLog   = "shim.log"
)

// The names of what only rescued and suspended machines have.
const (
	Rescue      = "rescue.json"
	RescueDisk  = "rescue.qcow2"
	Memory      = "memory"
	SpentMemory = "memory.spent"
)

// part marks a file that is not whole yet.
const part = ".part"

// Part is the name under which a file is made before it is whole.
func Part(name string) string { return name + part }

// WriteJSON replaces dir/name by v: after a crash at any moment the old or the new content is there.
func WriteJSON(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("internal error: cannot encode %s: %w", name, err)
	}
	return Write(dir, name, append(b, '\n'))
}

// Write replaces dir/name by content, as WriteJSON does.
func Write(dir, name string, content []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, Part(name)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return Publish(dir, name)
}

// Publish gives the whole and synced Part(name) its name, durably.
func Publish(dir, name string) error { return Rename(dir, Part(name), name) }

// Rename gives dir/from the name to, durably, in place of what has that name.
func Rename(dir, from, to string) error {
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		return fmt.Errorf("cannot rename %s to %s: %w", from, to, err)
	}
	return Sync(dir)
}

// ReadJSON reads dir/name into v. A missing file is fs.ErrNotExist.
func ReadJSON(dir, name string, v any) error {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("cannot understand %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

// Remove deletes dir/name if it is there.
func Remove(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", name, err)
	}
	return nil
}

// Forget deletes what there is of names in dir, in that order, durably.
func Forget(dir string, names ...string) error {
	for _, name := range names {
		if err := Remove(dir, name); err != nil {
			return err
		}
	}
	return Sync(dir)
}

// Has says whether there is a dir/name.
func Has(dir, name string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("cannot look for %s: %w", name, err)
	}
	return err == nil, nil
}

// SyncFile makes the content of dir/name durable.
func SyncFile(dir, name string) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("cannot sync %s: %w", name, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot sync %s: %w", name, err)
	}
	return nil
}

// Sync makes the names in dir durable.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("cannot sync %s: %w", dir, err)
	}
	return nil
}

// Dial connects to the socket dir/name. A path in a socket address ends at 107 bytes, so the address leads through a
// descriptor of dir.
func Dial(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := openPath(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", through(d, name))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s of %s: %w", name, filepath.Base(dir), err)
	}
	return conn, nil
}

// Listen makes the socket dir/name in place of an older one. The caller holds the lock of dir. Closing the file does
// not remove the name: the listener lives in the processes that inherit it.
func Listen(dir, name string) (*os.File, error) {
	if err := Remove(dir, name); err != nil {
		return nil, err
	}
	d, err := openPath(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: through(d, name)})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s of %s: %w", name, filepath.Base(dir), err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("cannot listen on %s of %s: %w", name, filepath.Base(dir), err)
	}
	return f, nil
}

func openPath(dir string) (*os.File, error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	return d, nil
}

func through(d *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)
}
