package qemu

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"leasehold/drivers"
	"leasehold/drivers/qemu/cgroup"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

var (
	errClosed      = errors.New("the driver is closed")
	errInterrupted = errors.New("interrupted, because somebody else must act on the machine now")
)

// machine is what the driver keeps of one machine while it is open: connections and calls, never facts.
type machine struct {
	d     *Driver
	id    vm.InstanceID
	dir   string
	group cgroup.Group
	main  *link // calls and events
	side  *link // Inspect
	kick  chan struct{}

	holders int // guarded by Driver.mu

	mu      sync.Mutex
	calls   map[*call]struct{}
	turn    uint64        // grows with every call that begins
	known   vm.PowerState // what was told last, or need not be told because a call brought it about; empty at first
	unwatch context.CancelFunc
	console *console
}

// call is one method under way.
type call struct {
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

func diskOf(dir string) string { return filepath.Join(dir, folder.Disk) }

// hold returns the one object of id. It stays until release.
func (d *Driver) hold(id vm.InstanceID, dir string) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil {
		m = &machine{
			d: d, id: id, dir: dir, group: d.tree.Group(d.prefix + string(id)),
			kick: make(chan struct{}, 1), calls: map[*call]struct{}{},
		}
		m.main = newLink(d.ctx, dir, folder.QMP, m.wake)
		m.side = newLink(d.ctx, dir, folder.QMP2, nil)
		d.machines[id] = m
	}
	m.holders++
	return m
}

// release drops the object when nobody holds it and the machine is not there (P6).
func (d *Driver) release(m *machine) {
	turn, _ := m.now()
	found, _ := look(m.dir)
	d.mu.Lock()
	m.holders--
	drop := m.holders == 0 && found == nothing
	if after, _ := m.now(); after != turn {
		drop = false // somebody has acted since the look
	}
	if drop {
		delete(d.machines, m.id)
	}
	d.mu.Unlock()
	if drop {
		m.letGo()
	}
}

// begin registers a call, so that Interrupt can end it. done must be called at its end.
func (d *Driver) begin(parent context.Context, id vm.InstanceID) (ctx context.Context, m *machine, done func(), err error) {
	dir, err := d.folderOf(id)
	if err != nil {
		return nil, nil, nil, errors.Join(drivers.ErrNoMachine, err)
	}
	ctx, cancel := context.WithCancelCause(parent)
	held, c := d.hold(id, dir), &call{cancel: cancel, ended: make(chan struct{})}
	held.mu.Lock()
	held.calls[c] = struct{}{}
	held.turn++
	held.mu.Unlock()
	end := func() {
		held.mu.Lock()
		delete(held.calls, c)
		held.mu.Unlock()
		close(c.ended)
		cancel(nil)
		held.wake() // what happened meanwhile by itself is told now
		d.release(held)
	}
	if d.ctx.Err() != nil {
		cancel(errClosed)
	}
	if ctx.Err() != nil {
		err := context.Cause(ctx)
		end()
		return nil, nil, nil, fmt.Errorf("cannot begin: %w", err)
	}
	return ctx, held, end, nil
}

// letGo closes everything that is open; the machine itself runs on.
func (m *machine) letGo() {
	m.mu.Lock()
	unwatch, c := m.unwatch, m.console
	m.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
	if c != nil {
		c.Close()
	}
	m.main.close()
	m.side.close()
}

// cancelCalls ends the calls under way and returns them.
func (m *machine) cancelCalls(cause error) []*call {
	m.mu.Lock()
	defer m.mu.Unlock()
	var calls []*call
	for c := range m.calls {
		c.cancel(cause)
		calls = append(calls, c)
	}
	return calls
}

// wake has the watcher look again.
func (m *machine) wake() {
	select {
	case m.kick <- struct{}{}:
	default: // it is about to
	}
}

// expect says that the call under way has brought the machine to this state, which is no event then.
func (m *machine) expect(p vm.PowerState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = p
}

// alive says whether a process of the machine is left.
func (m *machine) alive() (bool, error) { return folder.Held(m.dir) }

// require refuses a machine that was never prepared.
func (m *machine) require() (definition, error) {
	found, def := look(m.dir)
	switch found {
	case whole:
		return def, nil
	case alien:
		return def, fmt.Errorf("cannot use %s: %w", m.id, errAlien)
	case nothing, half:
	}
	return def, fmt.Errorf("cannot use %s: %w", m.id, drivers.ErrNoMachine)
}
