package agent

import (
	"encoding/json"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// memory is all that an agent must never forget, and the recent steps. It changes by apply alone, from the same entries
// that are in the journal, so what a restart finds is what was there.
type memory struct {
	ID         string                         `json:"id"`      // of the data directory: this memory is its identity
	Process    int64                          `json:"process"` // counts the agents that opened it
	Epoch      int64                          `json:"epoch"`   // the last one given to this host
	Fences     map[string]vm.Fence            `json:"fences"`  // by kind/id
	Tasks      map[vm.TaskID]mark             `json:"tasks"`
	Tombstones map[vm.InstanceID]tombstone    `json:"tombstones"`
	Steps      map[vm.InstanceID][]stepRecord `json:"steps"` // recent ones, oldest first
}

// mark is a task's own fence and the highest sequence seen under it. It stays when the step's record is gone.
type mark struct {
	Fence    vm.Fence      `json:"fence"`
	Sequence int64         `json:"sequence"`
	Instance vm.InstanceID `json:"instance"`
}

// tombstone says that an instance was deleted here and under which fence. It is for ever: ids are not used twice.
type tombstone struct {
	Fence vm.Fence  `json:"fence"` // the delete's; once the rest is forgotten, the highest one the instance ever had
	At    time.Time `json:"at"`
}

// stepRecord is a step in the journal. Its outcome is empty while it is begun and not ended.
type stepRecord struct {
	Task     vm.TaskID `json:"task"`
	Fence    vm.Fence  `json:"fence"`
	Sequence int64     `json:"sequence"`
	Step     string    `json:"step"`
	Digest   string    `json:"digest"` // of everything that makes it this step
	verdict
}

// verdict is how a step ended.
type verdict struct {
	Outcome   outcome            `json:"outcome,omitempty"`
	Reason    vm.Reason          `json:"reason,omitempty"`
	Message   string             `json:"message,omitempty"`
	Retryable bool               `json:"retryable,omitempty"`
	Image     *drivers.ImageFile `json:"image,omitempty"` // that an export has made
}

// outcome is the first word of a step's result.
type outcome string

const (
	outcomeDone        outcome = "done"
	outcomeFailed      outcome = "failed"
	outcomeInterrupted outcome = "interrupted" // nobody knows how far it came: look
)

// stepsKept is how many steps are remembered for each instance. A create has a handful; two tasks' worth is evidence
// enough for a successor, and the marks refuse what is older.
const stepsKept = 16

// deletesKept is how long the steps of a deleted instance are remembered: whoever waits for the answer of a delete has it
// or was replaced long before.
const deletesKept = 24 * time.Hour

// entry is one change of memory as it stands in the journal: exactly one field is set.
type entry struct {
	Snapshot  *memory         `json:"snapshot,omitempty"` // the first entry of each file
	Process   int64           `json:"process,omitempty"`
	Epoch     int64           `json:"epoch,omitempty"`
	Fence     *fenceEntry     `json:"fence,omitempty"`
	Begin     *beginEntry     `json:"begin,omitempty"`
	End       *endEntry       `json:"end,omitempty"`
	Tombstone *tombstoneEntry `json:"tombstone,omitempty"`
}

// fenceEntry raises the fences of all resources, and of the task when there is one.
type fenceEntry struct {
	Fence     vm.Fence      `json:"fence"`
	Task      vm.TaskID     `json:"task,omitempty"`
	Instance  vm.InstanceID `json:"instance"`
	Resources []vm.Resource `json:"resources"`
}

// beginEntry carries the fence, so that one sync is enough for both.
type beginEntry struct {
	fenceEntry
	Sequence int64  `json:"sequence"`
	Step     string `json:"step"`
	Digest   string `json:"digest"`
}

type endEntry struct {
	Task     vm.TaskID       `json:"task"`
	Fence    vm.Fence        `json:"fence"`
	Sequence int64           `json:"sequence"`
	Instance vm.InstanceID   `json:"instance"`
	Deleted  *tombstoneEntry `json:"deleted,omitempty"` // with the end of a delete, in the same sync
	verdict
}

type tombstoneEntry struct {
	Instance vm.InstanceID `json:"instance"`
	Fence    vm.Fence      `json:"fence"`
	At       time.Time     `json:"at"`
}

func newMemory(id string) memory {
	m := memory{ID: id}
	m.fill()
	return m
}

func (m *memory) fill() {
	if m.Fences == nil {
		m.Fences = map[string]vm.Fence{}
	}
	if m.Tasks == nil {
		m.Tasks = map[vm.TaskID]mark{}
	}
	if m.Tombstones == nil {
		m.Tombstones = map[vm.InstanceID]tombstone{}
	}
	if m.Steps == nil {
		m.Steps = map[vm.InstanceID][]stepRecord{}
	}
}

func (m *memory) apply(e entry) {
	switch {
	case e.Snapshot != nil:
		*m = *e.Snapshot
		m.fill()
	case e.Process != 0:
		m.Process = e.Process
	case e.Epoch != 0:
		m.Epoch = e.Epoch
	case e.Fence != nil:
		m.raise(*e.Fence, 0)
	case e.Begin != nil:
		m.raise(e.Begin.fenceEntry, e.Begin.Sequence)
		m.begin(*e.Begin)
	case e.End != nil:
		m.end(*e.End)
	case e.Tombstone != nil:
		m.Tombstones[e.Tombstone.Instance] = tombstone{Fence: e.Tombstone.Fence, At: e.Tombstone.At}
	}
}

// raise never lowers a number (A2).
func (m *memory) raise(e fenceEntry, sequence int64) {
	for _, r := range e.Resources {
		m.Fences[r.String()] = later(m.Fences[r.String()], e.Fence)
	}
	if e.Task == "" {
		return
	}
	known := m.Tasks[e.Task]
	switch c := e.Fence.Compare(known.Fence); {
	case c > 0:
		m.Tasks[e.Task] = mark{Fence: e.Fence, Sequence: sequence, Instance: e.Instance}
	case c == 0:
		known.Sequence, known.Instance = max(known.Sequence, sequence), e.Instance
		m.Tasks[e.Task] = known
	}
}

func (m *memory) begin(e beginEntry) {
	steps := m.Steps[e.Instance]
	steps = append(steps, stepRecord{
		Task: e.Task, Fence: e.Fence, Sequence: e.Sequence, Step: e.Step, Digest: e.Digest,
	})
	m.Steps[e.Instance] = steps[max(0, len(steps)-stepsKept):]
}

func (m *memory) end(e endEntry) {
	if s := m.step(e.Instance, e.Task, e.Fence, e.Sequence); s != nil {
		s.verdict = e.verdict
	}
	if d := e.Deleted; d != nil {
		m.Tombstones[d.Instance] = tombstone{Fence: d.Fence, At: d.At}
	}
}

func (m *memory) step(id vm.InstanceID, task vm.TaskID, f vm.Fence, sequence int64) *stepRecord {
	for i := range m.Steps[id] {
		if s := &m.Steps[id][i]; s.Task == task && s.Fence == f && s.Sequence == sequence {
			return s
		}
	}
	return nil
}

// highest is the highest fence known for anything that c names, and for what.
func (m *memory) highest(c claim) (vm.Fence, string) {
	top, on := m.Tasks[c.task].Fence, "task/"+string(c.task)
	for _, r := range c.resources {
		if f := m.fence(r); f.Compare(top) > 0 {
			top, on = f, r.String()
		}
	}
	return top, on
}

// fence is the highest one known for a resource. That of an instance deleted long ago is in its tombstone alone.
func (m *memory) fence(r vm.Resource) vm.Fence {
	f := m.Fences[r.String()]
	if r.Kind == vm.KindInstance {
		f = later(f, m.Tombstones[vm.InstanceID(r.ID)].Fence)
	}
	return f
}

// forget keeps the memory as small as what it must refuse. Of an instance deleted long ago the tombstone is left, which
// takes over its fence. A mark goes when its instance's own fence is higher, or is in a tombstone: every command names its
// instance, so what is still under way with the mark's number or a lower one is refused, or can only end once more what
// has ended. Other resources' fences stay, and so do tombstones (A2).
func (m *memory) forget(now time.Time) {
	for id, t := range m.Tombstones {
		if now.Sub(t.At) < deletesKept || m.busy(id) {
			continue
		}
		on := instance(id)
		m.Tombstones[id] = tombstone{Fence: m.fence(on), At: t.At}
		delete(m.Fences, on.String())
		delete(m.Steps, id)
	}
	for task, k := range m.Tasks {
		if m.Fences[instance(k.Instance).String()] != k.Fence {
			delete(m.Tasks, task)
		}
	}
}

// busy says whether the last step of the instance may be under way.
func (m *memory) busy(id vm.InstanceID) bool {
	steps := m.Steps[id]
	return len(steps) > 0 && steps[len(steps)-1].Outcome == ""
}

func instance(id vm.InstanceID) vm.Resource {
	return vm.Resource{Kind: vm.KindInstance, ID: string(id)}
}

// snapshot is the entry that begins a new journal file.
func (m *memory) snapshot() ([]byte, error) {
	return json.Marshal([]entry{{Snapshot: m}})
}

func later(a, b vm.Fence) vm.Fence {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}
