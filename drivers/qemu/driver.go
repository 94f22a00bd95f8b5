package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"leasehold/drivers"
	"leasehold/drivers/qemu/cgroup"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// Driver implements drivers.Driver, Rebooter, Pauser, Suspender, Rescuer, Rebuilder, Snapshotter, Passworder, Meter,
// Consoler and Interrupter.
type Driver struct {
	cfg    Config
	hyper  hypervisor
	images *images
	shelf  shelf
	freeze freezer
	tree   cgroup.Tree
	prefix string // of the cgroups of this Dir
	log    hclog.Logger
	hub    hub

	ctx   context.Context // ends with Close; carries the watchers only
	close context.CancelCauseFunc
	wg    sync.WaitGroup

	mu       sync.Mutex
	machines map[vm.InstanceID]*machine
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Rebooter    = (*Driver)(nil)
	_ drivers.Pauser      = (*Driver)(nil)
	_ drivers.Suspender   = (*Driver)(nil)
	_ drivers.Rescuer     = (*Driver)(nil)
	_ drivers.Rebuilder   = (*Driver)(nil)
	_ drivers.Snapshotter = (*Driver)(nil)
	_ drivers.Meter       = (*Driver)(nil)
	_ drivers.Consoler    = (*Driver)(nil)
	_ drivers.Interrupter = (*Driver)(nil)
)

// New opens the driver and watches the machines that it finds (I4 of the seam). It does not wait for any of them.
func New(ctx context.Context, c Config) (*Driver, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder for machines: %w", err)
	}
	d := &Driver{cfg: c, log: c.Log, freeze: askToFreeze, machines: map[vm.InstanceID]*machine{}}
	if d.hyper, err = probe(ctx, c); err != nil {
		return nil, err
	}
	if d.cfg.Capacity == (vm.Size{}) {
		if d.cfg.Capacity, err = capacityOf(c.Dir); err != nil {
			return nil, err
		}
	}
	if d.shelf, err = openShelf(c); err != nil {
		return nil, err
	}
	if d.images, err = openImages(c, d.shelf); err != nil {
		return nil, err
	}
	d.tree, _ = cgroup.Find()
	sum := sha256.Sum256([]byte(c.Dir))
	d.prefix = hex.EncodeToString(sum[:6]) + "-"
	d.ctx, d.close = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := d.adopt(); err != nil { //nolint:contextcheck // watchers live until Close
		return nil, err
	}
	d.log.Info("opened qemu", "version", d.hyper.version, "accel", d.hyper.accel, "machine", d.hyper.machine,
		"cgroups", d.tree != "", "machines", len(d.machines))
	return d, nil
}

// adopt watches what a predecessor has left.
func (d *Driver) adopt() error {
	ids, err := d.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if dir, err := d.folderOf(id); err == nil {
			if found, _ := look(dir); found == whole {
				m := d.hold(id, dir)
				m.sweep()
				m.startWatching()
				d.wg.Go(func() { m.thawLeft(d.ctx) })
				d.release(m)
			}
		}
	}
	return nil
}

// ids are the names in Dir: machines, and whatever else lies there.
func (d *Driver) ids() ([]vm.InstanceID, error) {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the machines: %w", err)
	}
	var ids []vm.InstanceID
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			ids = append(ids, vm.InstanceID(e.Name()))
		}
	}
	return ids, nil
}

// Info implements drivers.Driver.
func (d *Driver) Info(context.Context) (drivers.Info, error) {
	return drivers.Info{
		Driver: "qemu", Version: d.hyper.version, Accel: string(d.hyper.accel), Capacity: d.cfg.Capacity,
		Powers: []string{
			"reboot", "pause", "console", "interrupt", "suspend", "rescue", "rebuild", "snapshot", "password", "usage",
		},
	}, nil
}

// Inspect implements drivers.Driver.
func (d *Driver) Inspect(ctx context.Context, id vm.InstanceID) (drivers.Machine, error) {
	dir, err := d.folderOf(id)
	if err != nil {
		return drivers.Machine{ID: id}, nil // what cannot have a folder is not there
	}
	m := drivers.Machine{ID: id, Exists: true, PowerState: vm.PowerNoState}
	switch found, _ := look(dir); found {
	case nothing:
		m.Exists = false
	case half:
		m.Detail = "half-made"
	case alien:
		m.Unknown, m.Detail = true, errAlien.Error()
	case whole:
		held := d.hold(id, dir)
		defer d.release(held)
		s, err := held.status(ctx)
		if err != nil {
			return m, err
		}
		m.PowerState, m.Detail, m.Disks = s.power, s.word, []string{diskOf(dir)}
		switch rescue, err := rescueOf(dir); {
		case err != nil: // it concerns this machine only
			m.PowerState, m.Detail = vm.PowerNoState, err.Error()
		case rescue != nil:
			m.Rescue, m.Disks = rescue.ID, append(m.Disks, filepath.Join(dir, folder.RescueDisk))
		}
	}
	return m, nil
}

// List implements drivers.Driver. Machines are asked at the same time, so it takes no longer than the slowest.
func (d *Driver) List(ctx context.Context) ([]drivers.Machine, error) {
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	all, errs := make([]drivers.Machine, len(ids)), make([]error, len(ids))
	var asked sync.WaitGroup
	for i, id := range ids {
		asked.Go(func() { all[i], errs[i] = d.Inspect(ctx, id) })
	}
	asked.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(m drivers.Machine) bool { return !m.Exists }), nil
}

// Events implements drivers.Driver.
func (d *Driver) Events(ctx context.Context) <-chan drivers.Event { return d.hub.subscribe(ctx) }

// Close implements drivers.Driver. Calls under way end with an error.
func (d *Driver) Close() error {
	d.close(errClosed)
	d.mu.Lock()
	all := make([]*machine, 0, len(d.machines))
	for _, m := range d.machines {
		all = append(all, m)
	}
	d.mu.Unlock()
	for _, m := range all {
		m.cancelCalls(errClosed)
		m.letGo()
	}
	d.wg.Wait()
	d.hub.close()
	return nil
}
