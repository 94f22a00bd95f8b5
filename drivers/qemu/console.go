package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"sync"

	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// console is one open serial line.
type console struct {
	net.Conn
	gone func()
}

// Console implements drivers.Consoler. The line has one end: opening it closes the one that was open. What the guest
// says while it is not open is in ConsoleLog only.
func (d *Driver) Console(ctx context.Context, id vm.InstanceID) (io.ReadWriteCloser, error) {
	dir, err := d.folderOf(id)
	if err != nil {
		return nil, err
	}
	m := d.hold(id, dir)
	defer d.release(m)
	if _, err := m.require(); err != nil {
		return nil, err
	}
	if alive, err := m.alive(); err != nil || !alive {
		return nil, fmt.Errorf("cannot open the console of %s: %w", id, errors.Join(err, errOff))
	}
	conn, err := folder.Dial(ctx, dir, folder.Serial)
	if err != nil {
		return nil, fmt.Errorf("cannot open the console of %s: %w", id, err)
	}
	c := &console{Conn: conn}
	c.gone = sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.console == c {
			m.console = nil
		}
	})
	m.mu.Lock()
	older := m.console
	m.console = c
	m.mu.Unlock()
	if older != nil {
		older.Close()
	}
	return c, nil
}

// Close hangs up. A read under way ends.
func (c *console) Close() error {
	c.gone()
	return c.Conn.Close()
}

// ConsoleLog implements drivers.Consoler.
func (d *Driver) ConsoleLog(_ context.Context, id vm.InstanceID, limit int) ([]byte, error) {
	dir, err := d.folderOf(id)
	if err != nil {
		return nil, err
	}
	m := d.hold(id, dir)
	defer d.release(m)
	if _, err := m.require(); err != nil {
		return nil, err
	}
	b, err := tail(filepath.Join(dir, folder.SerialLog), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the console of %s: %w", id, err)
	}
	return b, nil
}
