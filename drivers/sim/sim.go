package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"leasehold/drivers"
	"leasehold/vm"
)

// DefaultCapacity is what a host offers unless its Config says otherwise: 64 vCPU, 256 GiB of memory, 2 TiB of disk.
var DefaultCapacity = vm.Size{VCPUs: 64, MemoryMiB: 256 << 10, DiskGiB: 2 << 10}

// Config describes one simulated host.
type Config struct {
	Host     vm.HostName  // its name in World
	Dir      string       // required: where its machines are kept
	Capacity vm.Size      // DefaultCapacity when zero
	Fsync    bool         // survive the loss of power of the real host too
	Log      hclog.Logger // none when nil

	// Latency, Fail and Hang are for machines whose metadata says nothing about the step. Keys are Steps.
	Latency map[string]time.Duration
	Fail    map[string]int
	Hang    map[string]bool

	// World is a directory shared by all hosts of a test, in any process; see ReadWorld. Empty: none is written.
	World string
	// Point is called before and after each change of state that is kept, as "<change>:before" and "<change>:after" with
	// the changes of Changes. It may end its goroutine, as a crash there would, but not call the driver. Nil: not called.
	Point func(name string)
}

// Driver is one simulated host. It has every optional power.
type Driver struct {
	cfg    Config
	world  *world
	events *broadcast

	open   sync.RWMutex // read-locked by each change, so that Close waits for them
	closed bool

	mu       sync.Mutex
	machines map[vm.InstanceID]*machine
	calls    map[vm.InstanceID]map[*call]struct{} // under way; nil when closed
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Rebooter    = (*Driver)(nil)
	_ drivers.Pauser      = (*Driver)(nil)
	_ drivers.Consoler    = (*Driver)(nil)
	_ drivers.Interrupter = (*Driver)(nil)
	_ drivers.Suspender   = (*Driver)(nil)
	_ drivers.Rescuer     = (*Driver)(nil)
	_ drivers.Rebuilder   = (*Driver)(nil)
	_ drivers.Snapshotter = (*Driver)(nil)
	_ drivers.Passworder  = (*Driver)(nil)
	_ drivers.Meter       = (*Driver)(nil)
)

var errClosed = errors.New("the driver is closed")

// New opens the host kept in cfg.Dir, or makes it, and finds all its machines (I4). One driver at a time has a Dir; the
// agent's lock file sees to that.
func New(cfg Config) (*Driver, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cannot simulate a host without a directory")
	}
	if cfg.Capacity == (vm.Size{}) {
		cfg.Capacity = DefaultCapacity
	}
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if err := checkSteps(cfg); err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, events: newBroadcast(),
		machines: map[vm.InstanceID]*machine{}, calls: map[vm.InstanceID]map[*call]struct{}{},
	}
	for _, dir := range []string{d.machineDir(), d.spentDir(), d.imageDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the simulated host: %w", err)
		}
	}
	if err := d.load(); err != nil {
		return nil, err
	}
	var err error
	if d.world, err = openWorld(cfg.World, cfg.Host); err != nil {
		return nil, err
	}
	if err := d.witness(); err != nil {
		return nil, errors.Join(err, d.world.close())
	}
	return d, nil
}

func (d *Driver) machineDir() string { return filepath.Join(d.cfg.Dir, "machines") }

// spentDir lies in the world when there is one, so that "fails once" means once however often the machine is made again
// elsewhere.
func (d *Driver) spentDir() string {
	if d.cfg.World != "" {
		return filepath.Join(d.cfg.World, "spent")
	}
	return filepath.Join(d.cfg.Dir, "spent")
}

// Info tells the configured capacity.
func (d *Driver) Info(context.Context) (drivers.Info, error) {
	return drivers.Info{
		Driver: "sim", Version: "1", Capacity: d.cfg.Capacity,
		Powers: []string{
			"reboot", "pause", "console", "interrupt", "suspend", "rescue", "rebuild", "snapshot", "password", "usage",
		},
	}, nil
}

// Inspect tells what the map says; it never waits.
func (d *Driver) Inspect(_ context.Context, id vm.InstanceID) (drivers.Machine, error) {
	if m := d.find(id); m != nil {
		return m.seen(), nil
	}
	return drivers.Machine{ID: id, PowerState: vm.PowerNoState}, nil
}

// List tells what the map says of every machine, in no order.
func (d *Driver) List(context.Context) ([]drivers.Machine, error) {
	list := []drivers.Machine{}
	for _, m := range d.all() {
		if seen := m.seen(); seen.Exists {
			list = append(list, seen)
		}
	}
	return list, nil
}

// Events tells of guests that end by themselves: GuestShutdown and GuestCrash. A receiver may be 64 events behind.
func (d *Driver) Events(ctx context.Context) <-chan drivers.Event { return d.events.receiver(ctx) }

// Close ends the calls under way and the receivers' channels; the machines run on.
func (d *Driver) Close() error {
	d.mu.Lock()
	for _, calls := range d.calls {
		for c := range calls {
			c.cancel(errClosed)
		}
	}
	d.calls = nil
	d.mu.Unlock()
	d.open.Lock()
	defer d.open.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.events.close()
	for _, m := range d.all() {
		m.lines.hangUp()
	}
	return d.world.close()
}

// find is nil when there is no such machine.
func (d *Driver) find(id vm.InstanceID) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[id]
}

func (d *Driver) all() []*machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*machine, 0, len(d.machines))
	for _, m := range d.machines {
		list = append(list, m)
	}
	return list
}
