package sim

import (
	"sync"
	"sync/atomic"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// record is a machine as its file holds it. A stored record is never changed; a change stores another.
type record struct {
	Schema   int           `json:"schema"`
	Spec     drivers.Spec  `json:"spec"`
	Made     bool          `json:"made"`    // Prepare has come to its end
	Spawned  bool          `json:"spawned"` // has been started since
	Power    vm.PowerState `json:"power_state"`
	Detail   string        `json:"detail,omitempty"`
	Since    time.Time     `json:"since"`              // when Power was entered
	Rescue   vm.ImageID    `json:"rescue,omitempty"`   // of the disk that it starts from, when that is not its own
	Disk     string        `json:"disk,omitempty"`     // what is on its own disk
	Boots    int           `json:"boots,omitempty"`    // how often it was started from that
	User     string        `json:"user,omitempty"`     // whose password was set last
	Password string        `json:"password,omitempty"` // a digest
	Console  []byte        `json:"console,omitempty"`  // the last that the guest wrote, at most consoleLimit

	faults faults // of the Spec's metadata
	said   []byte // what the guest writes in the change being made; no stored record has any
	size   int    // of the file as it is now, 0 while there is none
}

// exists is false for the record of nothing.
func (r *record) exists() bool { return r.Schema != 0 }

// executing says whether vCPUs run; on, whether there is a power to cut.
func (r *record) executing() bool { return r != nil && r.Power == vm.PowerRunning }
func (r *record) on() bool        { return r.Power == vm.PowerRunning || r.Power == vm.PowerPaused }

// enter changes the power state.
func (r *record) enter(p vm.PowerState, detail string) {
	r.Power, r.Detail, r.Since = p, detail, time.Now().UTC()
}

// boot lets the guest begin.
func (r *record) boot() {
	r.enter(vm.PowerRunning, "")
	r.Spawned = true
	if r.Rescue != "" {
		r.write([]byte(banner(r.Spec.Name + ", rescued from " + string(r.Rescue))))
		return
	}
	r.Boots++
	r.write([]byte(banner(r.Spec.Name)))
}

// write appends to the console's log. The old bytes may belong to an older record, so they are copied.
func (r *record) write(p []byte) {
	all := append(append(make([]byte, 0, len(r.Console)+len(p)), r.Console...), p...)
	r.Console = all[max(0, len(all)-consoleLimit):]
	r.said = p
}

// machine is the place of one machine in the map. Readers load the record; writers hold mu from reading it to replacing
// file and record.
type machine struct {
	id      vm.InstanceID
	unknown string // why its file cannot be read; constant
	rec     atomic.Pointer[record]
	lines   lines

	mu    sync.Mutex
	ended bool            // destroyed: this place is no longer in the map
	hung  map[string]bool // steps that Hang has made deaf
}

// copied is the record to work on, empty when there is none. What cannot be read is not worked on.
func (m *machine) copied() (record, error) {
	if m.unknown != "" {
		return record{}, vm.Refuse(vm.ReasonDriver, "what is here under that id is not understood and left alone: %s", m.unknown)
	}
	if r := m.rec.Load(); r != nil {
		return *r, nil
	}
	return record{}, nil
}

func (m *machine) deaf(step string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hung[step]
}

// place is the machine's place in the map, made when there is none; vacate gives up one in which nothing came to be.
func (d *Driver) place(id vm.InstanceID) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[id]
	if m == nil {
		m = &machine{id: id}
		d.machines[id] = m
	}
	return m
}

func (d *Driver) vacate(m *machine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unknown != "" || m.rec.Load() != nil || m.ended {
		return
	}
	m.ended = true
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.machines, m.id)
}

// seen is what Inspect says of the machine.
func (m *machine) seen() drivers.Machine {
	if m.unknown != "" {
		return drivers.Machine{ID: m.id, Exists: true, Unknown: true, PowerState: vm.PowerNoState, Detail: m.unknown}
	}
	r := m.rec.Load()
	if r == nil {
		return drivers.Machine{ID: m.id, PowerState: vm.PowerNoState}
	}
	seen := drivers.Machine{ID: m.id, Exists: true, PowerState: r.Power, Detail: r.Detail, Rescue: r.Rescue}
	if r.Made {
		seen.Disks = []string{"root"}
	}
	return seen
}
