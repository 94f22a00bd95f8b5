package sim

import (
	"context"

	"leasehold/drivers"
	"leasehold/vm"
)

// Changes lists the changes of state that Config.Point is told of.
func Changes() []string {
	return []string{
		"intend", "prepare", "start", "stop", "reboot", "pause", "unpause", "kill", "poweroff", "destroy", "guest", "console",
		"suspend", "resume", "rescue", "unrescue", "rebuild", "password", "snapshot", "export",
	}
}

// verdict says what a move makes of a record.
type verdict int

const (
	already verdict = iota // it is so; nothing to do
	changes                // the record was changed
	removes                // the machine goes
)

// move says what has to become of the machine and changes r, a copy, accordingly; or says why it may not be. r is empty
// when there is no machine. A verb asks it twice, before its step and at the change, because a guest acts meanwhile.
type move func(r *record) (verdict, error)

// do makes one change of a machine, with the step that leads to it, named for the record found.
func (c *call) do(ctx context.Context, change string, step func(*record) string, mv move) error {
	m := c.d.find(c.id)
	if m == nil {
		_, err := mv(&record{})
		return err
	}
	r, err := m.copied()
	if err != nil {
		return err
	}
	f, name := r.faults, step(&r)
	if v, err := mv(&r); v == already || err != nil {
		return err
	}
	if err := c.step(ctx, m, f, name); err != nil {
		return err
	}
	return c.d.change(ctx, m, change, mv)
}

// change applies mv for a caller whose context has not ended. That is compared under the lock that Interrupt takes, so an
// ended call always comes too late (P2, I8).
func (d *Driver) change(ctx context.Context, m *machine, name string, mv move) error {
	return d.apply(m, name, mv, func() error { return context.Cause(ctx) })
}

// apply makes mv of the machine as it is now and keeps the outcome, unless late says why it comes too late. It is the
// only way a record changes.
func (d *Driver) apply(m *machine, name string, mv move, late func() error) error {
	d.open.RLock()
	defer d.open.RUnlock()
	if d.closed {
		return errClosed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := m.copied()
	if err != nil {
		return err
	}
	v, err := mv(&next)
	if v == already || err != nil {
		return err
	}
	if m.ended { // destroyed since it was found
		return drivers.ErrNoMachine
	}
	if err := late(); err != nil {
		return err
	}
	d.point(name + ":before")
	if v == removes {
		err = d.remove(m)
	} else {
		err = d.replace(m, &next)
	}
	if err != nil {
		return err
	}
	d.point(name + ":after")
	return nil
}

// replace makes next the machine's truth, with the world's log around it (I7). The caller holds m.mu.
func (d *Driver) replace(m *machine, next *record) error {
	was, is := m.rec.Load().executing(), next.executing()
	if !was && is {
		if err := d.world.tell(m.id, true); err != nil {
			return err
		}
	}
	if err := d.keep(next); err != nil {
		return err
	}
	said := next.said
	next.said = nil
	m.rec.Store(next)
	m.lines.bring(said)
	if !next.on() {
		m.lines.hangUp()
	}
	if was && !is {
		return d.world.tell(m.id, false)
	}
	return nil
}

// remove takes a machine that is off from disk and map. The caller holds m.mu.
func (d *Driver) remove(m *machine) error {
	if err := d.forget(m.id); err != nil {
		return err
	}
	m.ended = true
	m.rec.Store(nil)
	d.mu.Lock()
	delete(d.machines, m.id)
	d.mu.Unlock()
	m.lines.hangUp()
	return nil
}

func (d *Driver) point(name string) {
	if d.cfg.Point != nil {
		d.cfg.Point(name)
	}
}

// byItself is never too late: nobody called.
func byItself() error { return nil }

// cut is the end of the power, for whatever reason.
func cut(to vm.PowerState, detail string) move {
	return func(r *record) (verdict, error) {
		if !r.on() {
			return already, nil
		}
		r.enter(to, detail)
		return changes, nil
	}
}
