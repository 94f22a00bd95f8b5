package sim

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// GuestShutdown plays a guest that shuts itself down. Receivers of Events hear of it.
func (d *Driver) GuestShutdown(id vm.InstanceID) error {
	return d.guest(id, vm.PowerShutdown, "guest-shutdown")
}

// GuestCrash plays a guest that panics. Receivers of Events hear of it.
func (d *Driver) GuestCrash(id vm.InstanceID) error {
	return d.guest(id, vm.PowerCrashed, "guest-panicked")
}

// GuestReport has receivers of Events hear what the machine does now, as a hypervisor tells what somebody changed in
// it.
func (d *Driver) GuestReport(id vm.InstanceID) error {
	m := d.find(id)
	if m == nil {
		return fmt.Errorf("cannot report the guest of %s: %w", id, drivers.ErrNoMachine)
	}
	seen := m.seen()
	d.events.send(drivers.Event{ID: id, PowerState: seen.PowerState, Detail: seen.Detail, At: time.Now()})
	return nil
}

// guest ends a machine by itself; only one that executes can.
func (d *Driver) guest(id vm.InstanceID, to vm.PowerState, detail string) error {
	var at time.Time
	err := d.play(id, func(r *record) {
		r.enter(to, detail)
		at = r.Since
	})
	if err != nil {
		return err
	}
	d.events.send(drivers.Event{ID: id, PowerState: to, Detail: detail, At: at})
	return nil
}

// GuestCount plays a guest that counts in its memory, from 1 after each boot, and says how far it is.
func (d *Driver) GuestCount(id vm.InstanceID) (uint64, error) {
	var now uint64
	err := d.play(id, func(r *record) {
		r.Memory++
		now = r.Memory
	})
	return now, err
}

// GuestWrite plays a guest that writes to the disk it started from, over what was written before.
func (d *Driver) GuestWrite(id vm.InstanceID, text string) error {
	return d.play(id, func(r *record) {
		root := r.root()
		*root = root.with("wrote", strconv.Quote(text))
	})
}

// GuestRead plays a guest that reads there. It is empty when nothing was written.
func (d *Driver) GuestRead(id vm.InstanceID) (string, error) {
	var text string
	err := d.play(id, func(r *record) {
		text, _ = strconv.Unquote(r.root().of("wrote"))
	})
	return text, err
}

// play changes a machine as its guest would, which has to execute.
func (d *Driver) play(id vm.InstanceID, act func(*record)) error {
	m := d.find(id)
	if m == nil {
		return fmt.Errorf("cannot play the guest of %s: %w", id, drivers.ErrNoMachine)
	}
	err := d.apply(m, "guest", func(r *record) (verdict, error) {
		if !r.executing() {
			return already, errors.New("it does not execute")
		}
		act(r)
		return changes, nil
	}, byItself)
	if err != nil {
		return fmt.Errorf("cannot play the guest of %s: %w", id, err)
	}
	return nil
}

// PowerLoss plays a host that loses its power: whatever executed or was paused has crashed, what was
// suspended is kept. Nobody is told, for there is
// nobody left; a new Driver finds out.
func (d *Driver) PowerLoss() error {
	var errs []error
	for _, m := range d.all() {
		if m.unknown == "" {
			errs = append(errs, d.apply(m, "guest", cut(vm.PowerCrashed, "host-power-loss"), byItself))
		}
	}
	return errors.Join(errs...)
}

// Hang makes one step of one machine hang from now on, as sim.hang does, until Interrupt with kill or a new Driver.
func (d *Driver) Hang(id vm.InstanceID, step string) error {
	m := d.find(id)
	if m == nil {
		return fmt.Errorf("cannot hang %s: %w", id, drivers.ErrNoMachine)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hung == nil {
		m.hung = map[string]bool{}
	}
	m.hung[step] = true
	return nil
}

// Executions tells which machines execute here, and since when.
func (d *Driver) Executions() map[vm.InstanceID]time.Time {
	now := map[vm.InstanceID]time.Time{}
	for _, m := range d.all() {
		if r := m.rec.Load(); r.executing() {
			now[m.id] = r.Since
		}
	}
	return now
}
