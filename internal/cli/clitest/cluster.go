// Package clitest is a cluster of conductors without machines, for the tests of what talks to conductors. Its replicas
// listen on loopback, share one state, and refuse what real ones refuse: unknown ids, used names, wrong states, keys
// used for something else. Tasks move when the test moves them.
package clitest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/fsm"
	"leasehold/vm"
)

// Patience is how long a test waits for what must happen.
const Patience = 20 * time.Second

// Began is the time of every record here.
var Began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Cluster is what the replicas share.
type Cluster struct {
	// PageSize is what a list answers at most.
	PageSize int

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced with each change
	revision  int64
	instances []*conductorv1.Instance
	tasks     []*conductorv1.Task
	images    []*conductorv1.Image
	hosts     []*conductorv1.Host
	events    []*conductorv1.Event
	forgotten int64 // events up to this revision are not known
	requests  map[string]*request
	refusals  map[string]error
	violation *conductorv1.Violation
	calls     []Call
}

type request struct {
	body   string
	answer *conductorv1.InstanceTask
}

// Call is one call that arrived.
type Call struct {
	Replica string // its address
	Method  string // WatchTask
	Project string
	Request proto.Message // nil for streams of requests
}

// New makes a cluster with one running instance, web-0, the image default, and the hosts h1, which is up, and h2, which
// is down.
func New() *Cluster {
	c := &Cluster{
		PageSize: 100, changed: make(chan struct{}), requests: map[string]*request{}, refusals: map[string]error{},
	}
	c.instances = append(c.instances, &conductorv1.Instance{
		Id: id(0, 1), Name: "web-0", Project: "default", VmState: "active", PowerState: "running", Host: "h1", HostStatus: "up",
		Flavor: "tiny", Image: id(2, 1), Size: &conductorv1.Size{Vcpus: 1, MemoryMib: 128, DiskGib: 1},
		Metadata: map[string]string{"tier": "web"}, Availability: "none", Revision: 7,
		CreatedAt: timestamppb.New(Began), UpdatedAt: timestamppb.New(Began), Since: timestamppb.New(Began),
	})
	c.images = append(c.images, &conductorv1.Image{
		Id: id(2, 1), Name: "default", Project: "default", Url: "builtin:boot0", Format: "raw",
		Status: string(vm.ImageActive), CreatedAt: timestamppb.New(Began), UpdatedAt: timestamppb.New(Began), Revision: 3,
	})
	for name, status := range map[string]string{"h1": "up", "h2": "down"} {
		c.hosts = append(c.hosts, &conductorv1.Host{
			Id: name, Name: name, Status: status, Admin: string(vm.HostEnabled), Driver: "sim", Epoch: 1, Revision: 2,
			Capacity: &conductorv1.Size{Vcpus: 64, MemoryMib: 1024, DiskGib: 20}, Since: timestamppb.New(Began),
			Powers: []string{"suspend", "rescue"},
		})
	}
	slices.SortFunc(c.hosts, func(a, b *conductorv1.Host) int { return cmp.Compare(a.GetName(), b.GetName()) })
	c.revision, c.forgotten = 7, 7
	return c
}

// id is the n-th id of a kind: instances 0, tasks 1, images 2. Their beginnings differ.
func id(kind, n int) string { return fmt.Sprintf("01934f%d%d-0000-7000-8000-%012d", kind, n, n) }

// Refuse makes every call of a method fail.
func (c *Cluster) Refuse(method string, err error) { c.change(func() { c.refusals[method] = err }) }

// Violate makes Check find something.
func (c *Cluster) Violate(promise, message string) {
	c.change(func() { c.violation = &conductorv1.Violation{Promise: promise, Message: message} })
}

// Change changes the newest task.
func (c *Cluster) Change(how func(*conductorv1.Task)) {
	c.change(func() {
		t := c.tasks[len(c.tasks)-1]
		how(t)
		t.Revision = c.revision
	})
}

// End ends the newest task, and with it what it does.
func (c *Cluster) End(status vm.TaskStatus, fault *conductorv1.Fault) {
	c.Change(func(t *conductorv1.Task) {
		t.Status, t.Error, t.EndedAt = string(status), fault, timestamppb.New(Began.Add(12*time.Second))
		step := t.GetSteps()[0]
		step.Status, step.EndedAt = string(vm.StepDone), t.GetEndedAt()
		if status != vm.TaskSucceeded {
			step.Status, step.Error = string(vm.StepFailed), fault.GetMessage()
		}
		i := c.find(t.GetInstance())
		i.Task, i.TaskState = "", ""
		c.saved(t, status)
		if status != vm.TaskSucceeded {
			i.VmState = string(vm.Error)
			return
		}
		switch kind := vm.Verb(t.GetKind()); kind {
		case vm.Create:
			i.VmState, i.Host = string(vm.Active), "h1"
		case vm.Rescue:
			i.Rescue = &conductorv1.Rescue{Image: i.GetImage(), Since: timestamppb.New(Began)}
			i.VmState = string(vm.Rescued)
		case vm.Unrescue:
			i.Rescue, i.VmState = nil, string(vm.Active)
		default:
			i.VmState = string(fsm.Decide(subject(i), kind, fsm.Auto).To)
		}
	})
}

// Happen makes events: all of one transaction.
func (c *Cluster) Happen(events ...*conductorv1.Event) {
	c.change(func() {
		for _, e := range events {
			e.Revision, e.At = c.revision, timestamppb.New(Began)
			c.events = append(c.events, e)
		}
	})
}

// Forget makes the replicas forget all events so far.
func (c *Cluster) Forget() { c.change(func() { c.events, c.forgotten = nil, c.revision }) }

// Revision is the newest one.
func (c *Cluster) Revision() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revision
}

// Calls lists the calls of a method that have arrived.
func (c *Cluster) Calls(method string) []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	var of []Call
	for _, call := range c.calls {
		if call.Method == method {
			of = append(of, call)
		}
	}
	return of
}

// Tasks is how many tasks were ever admitted.
func (c *Cluster) Tasks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tasks)
}

// Await waits until n calls of a method have arrived.
func (c *Cluster) Await(t testing.TB, method string, n int) {
	t.Helper()
	c.until(t, fmt.Sprintf("call %d of %s", n, method), func() bool { return len(c.Calls(method)) >= n })
}

func (c *Cluster) until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			require.FailNow(t, "waited in vain", what)
		}
	}
}

func (c *Cluster) change(how func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision++
	how()
	close(c.changed)
	c.changed = make(chan struct{})
}

// find resolves an id, a unique beginning of one, or a name; nil when there is none. Called with the mutex.
func (c *Cluster) find(ref string) *conductorv1.Instance {
	for _, i := range c.instances {
		if i.GetName() == ref || strings.HasPrefix(i.GetId(), ref) {
			return i
		}
	}
	return nil
}

func (c *Cluster) findTask(ref string) *conductorv1.Task {
	for _, t := range c.tasks {
		if strings.HasPrefix(t.GetId(), ref) {
			return t
		}
	}
	return nil
}

// admit makes a task of a kind for an instance, once for each request id. Called with the mutex.
func (c *Cluster) admit(i *conductorv1.Instance, kind vm.Verb, doing vm.TaskState) *conductorv1.InstanceTask {
	t := &conductorv1.Task{
		Id: id(1, len(c.tasks)+1), Kind: string(kind), Status: string(vm.TaskRunning), Project: i.GetProject(),
		Instance: i.GetId(), Conductor: "c1", CreatedAt: timestamppb.New(Began), UpdatedAt: timestamppb.New(Began),
		Steps:    []*conductorv1.Step{{Name: string(doing), Status: string(vm.StepDoing), StartedAt: timestamppb.New(Began)}},
		Attempts: []*conductorv1.Attempt{{Conductor: "c1", Since: timestamppb.New(Began), Why: "admitted"}},
		Revision: c.revision,
	}
	c.tasks = append(c.tasks, t)
	i.Task, i.TaskState, i.Revision = t.GetId(), string(doing), c.revision
	return &conductorv1.InstanceTask{Instance: proto.CloneOf(i), Task: proto.CloneOf(t), Revision: c.revision}
}
