package sim

import (
	"errors"
	"fmt"
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

// GuestReport has receivers of Events hear what the machine does now, as a hypervisor tells what somebody changed in it.
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
	m := d.find(id)
	if m == nil {
		return fmt.Errorf("cannot play the guest of %s: %w", id, drivers.ErrNoMachine)
	}
	var at time.Time
	err := d.apply(m, "guest", func(r *record) (verdict, error) {
		if !r.executing() {
			return already, errors.New("it does not execute")
		}
		r.enter(to, detail)
		at = r.Since
		return changes, nil
	}, byItself)
	if err != nil {
		return fmt.Errorf("cannot play the guest of %s: %w", id, err)
	}
	d.events.send(drivers.Event{ID: id, PowerState: to, Detail: detail, At: at})
	return nil
}

// PowerLoss plays a host that loses its power: whatever executed or was paused has crashed. Nobody is told, for there is
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
