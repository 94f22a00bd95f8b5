package tasks_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/api/compute/v1"
	"leasehold/fsm"
	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

var size = vm.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}

// site is the world outside of one instance: hosts with an agent and a hypervisor each, and the records as they are
// durable. It refuses what the real ones refuse: an older fence, what would revive a deleted instance, what a machine's
// power state does not allow.
type site struct {
	hosts map[vm.HostName]*host
	task  *vm.Task
	inst  *vm.Instance
	acts  []string // what agents were told to do: "spawn h1"
	twice bool     // a machine began to execute while it executed on another host (P2)
}

// host is one agent. The zero value has nothing on it.
type host struct {
	promised  vm.Allocations
	machine   *machine
	fence     int64
	journal   []*computev1.JournalEntry
	tombstone bool

	fails map[string]int // by step: how many more times the hypervisor says no; below zero: always
	hung  bool           // a call of somebody older hangs in the hypervisor
	away  bool           // the agent cannot be reached, and its lease lives
	down  tasks.Standing // zero: up
	image string         // ids of a copy, or a complete image

	spawning func() bool // asked with each command: whether the host is there to do it; nil: it is
}

// machine is half-made while its power state is nostate.
type machine struct {
	power    vm.PowerState
	boots    int
	rescue   string
	disk     string // id of the image it was made of
	password string
}

func newSite(hosts ...vm.HostName) *site {
	s := &site{hosts: map[vm.HostName]*host{}}
	for _, name := range hosts {
		s.hosts[name] = &host{promised: vm.Allocations{Name: name}, fails: map[string]int{}}
	}
	return s
}

// place puts the instance on a host, as an earlier task has left it.
func (s *site) place(name vm.HostName, power vm.PowerState) {
	h := s.hosts[name]
	h.machine = &machine{power: power, boots: 1, disk: "image"}
	h.promised, _ = scheduler.Reserve(h.promised, "i1", size, capacity)
}

var capacity = vm.Size{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100}

// admit begins a task on the site and returns what its first worker has.
func (s *site) admit(verb vm.Verb, in vm.Instance, params string) *tasks.Work {
	in.ID, in.Name, in.Size, in.Task = "i1", "one", size, "t1"
	s.inst = &in
	s.task = &vm.Task{ID: "t1", Kind: verb, Instance: "i1", Prior: in.State, Hosts: slices.Clone(in.Footprint), Params: []byte(params)}
	return s.work(&world{site: s, fence: 10})
}

// work is what a worker has of the site: copies of the records.
func (s *site) work(w *world) *tasks.Work {
	return &tasks.Work{
		World: w, Task: s.task.Clone(), Instance: s.inst.Clone(),
		Image: &vm.Image{ID: "image", Name: "default", URL: "builtin:boot0", Format: "raw"},
	}
}

// world is what one claim on the site lets its worker do.
type world struct {
	*site
	fence    int64
	sequence int64
	acted    func(step string) // called when an agent has acted, before it answers
}

func worldOf(w *tasks.Work) *world { return w.World.(*world) }

// save makes durable what the conductor's recorder does: both records, and the allocations that were decided.
func save(w *tasks.Work) {
	s := worldOf(w).site
	for _, name := range w.Free {
		s.hosts[name].promised = scheduler.Release(s.hosts[name].promised, w.Instance.ID)
	}
	if w.Promise != "" {
		next, err := scheduler.Reserve(s.hosts[w.Promise].promised, w.Instance.ID, w.Instance.Size, capacity)
		if err != nil {
			panic(err) // whoever placed it there saw room, and nobody else places here
		}
		s.hosts[w.Promise].promised = next
	}
	w.Promise, w.Free = "", nil
	s.task, s.inst = w.Task.Clone(), w.Instance.Clone()
}

// takeOver is another conductor's work after a crash: a newer fence on every host that the task touched, and the durable
// records.
func takeOver(t *testing.T, dead *tasks.Work) *tasks.Work {
	t.Helper()
	was := worldOf(dead)
	w := was.work(&world{site: was.site, fence: was.fence + 1})
	for _, name := range w.Task.Hosts {
		_, err := w.Fence(t.Context(), name, w.Task.Kind == vm.Delete, func(workflow.Progress) {})
		require.NoError(t, err)
	}
	return w
}

func (w *world) Now() time.Time { return time.Now().UTC() }

func (w *world) Candidates() []scheduler.Candidate {
	var all []scheduler.Candidate
	for _, name := range slices.Sorted(maps.Keys(w.hosts)) {
		all = append(all, scheduler.Candidate{
			Host:  vm.Host{Name: name, Admin: vm.HostEnabled, Capacity: capacity},
			Alive: true, Allocations: w.hosts[name].promised,
		})
	}
	return all
}

func (w *world) Fence(_ context.Context, name vm.HostName, kill bool, _ workflow.Beat) (*computev1.Observation, error) {
	h, err := w.reach(name)
	if err != nil {
		return nil, err
	}
	if kill && h.hung {
		h.machine.power = vm.PowerCrashed
	}
	h.hung = false
	seen := h.look()
	seen.Journal = h.journal
	return seen, nil
}

// reach finds a host and raises its fence.
func (w *world) reach(name vm.HostName) (*host, error) {
	h := w.hosts[name]
	if h == nil {
		panic(fmt.Sprintf("host %q was asked, and there is none: a real conductor would wait for ever", name))
	}
	if h.away {
		return nil, workflow.Abandon(fmt.Errorf("host %s: %w", name, vm.Refuse(vm.ReasonStoreUnavailable, "no answer")))
	}
	if w.fence < h.fence {
		return nil, workflow.Abandon(vm.Refuse(vm.ReasonStaleFence, "cannot act under fence %d: %d is known", w.fence, h.fence))
	}
	h.fence = w.fence
	return h, nil
}

// Host implements tasks.World.
func (w *world) Host(name vm.HostName) tasks.Standing {
	if h := w.hosts[name]; h != nil && h.down != 0 {
		return h.down
	}
	return tasks.Up
}

func (w *world) Act(ctx context.Context, name vm.HostName, do tasks.Action, _ workflow.Beat) (*computev1.StepResult, error) {
	h, err := w.reach(name)
	if err != nil {
		return nil, err
	}
	w.sequence++
	r := &computev1.RunRequest{InstanceId: "i1", TaskId: string(w.task.ID), Sequence: w.sequence}
	do(r)
	if h.spawning != nil && !h.spawning() { // as the conductor says of a host that was removed
		return nil, workflow.Permanent(vm.Refuse(vm.ReasonHostDown, "host %s was removed for good", name))
	}
	w.acts = append(w.acts, r.GetStep()+" "+string(name))
	if h.hung { // the machine's mutex is held
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	e := &computev1.JournalEntry{TaskId: r.GetTaskId(), Step: r.GetStep(), Sequence: r.GetSequence(), Outcome: "done"}
	h.journal = append(h.journal, e)
	refusal := w.run(name, h, r)
	if refusal != nil {
		e.Outcome = "failed"
	}
	if w.acted != nil {
		w.acted(r.GetStep())
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // the call was left: nobody hears its answer
	}
	if refusal != nil {
		return &computev1.StepResult{Observation: h.look()}, workflow.Permanent(refusal)
	}
	result := &computev1.StepResult{Outcome: "done", Observation: h.look()}
	if x := r.GetExport(); x != nil {
		result.Image = &computev1.ImageFile{Id: x.GetImageId(), SizeBytes: 7, Sha256: "digest", Format: "qcow2"}
	}
	return result, nil
}

// run is the agent and its hypervisor.
func (w *world) run(name vm.HostName, h *host, r *computev1.RunRequest) error {
	revives := r.GetCreate() != nil || r.GetStart() != nil || r.GetReboot() != nil || r.GetUnpause() != nil ||
		r.GetResume() != nil || r.GetRescue() != nil || r.GetUnrescue() != nil
	if revives && h.tombstone {
		return vm.Refuse(vm.ReasonStateForbids, "instance i1 was deleted on this host")
	}
	broken := h.fails[r.GetStep()] != 0
	if broken {
		h.fails[r.GetStep()]--
	}
	switch {
	case r.GetCreate() != nil:
		if h.machine == nil {
			h.machine = &machine{power: vm.PowerNoState}
		}
	case r.GetDestroy() != nil, r.GetDrop() != nil:
	case h.machine == nil || h.machine.power == vm.PowerNoState:
		return vm.Refuse(vm.ReasonNotFound, "no such machine on this host")
	}
	if broken {
		return vm.Refuse(vm.ReasonDriver, "the hypervisor of %s said no", name)
	}
	switch x := r.GetAction().(type) {
	case *computev1.RunRequest_Destroy:
		h.machine, h.tombstone = nil, h.tombstone || x.Destroy.GetTombstone()
		if slices.Contains(x.Destroy.GetImages(), h.image) {
			h.image = ""
		}
	case *computev1.RunRequest_Suspend:
		return h.machine.between(vm.PowerRunning, vm.PowerSuspended)
	case *computev1.RunRequest_Resume:
		return h.machine.between(vm.PowerSuspended, vm.PowerRunning)
	case *computev1.RunRequest_Rescue:
		h.machine.rescue = x.Rescue.GetImage().GetId()
		w.boot(h, true)
	case *computev1.RunRequest_Unrescue:
		h.machine.rescue = ""
		w.boot(h, true)
	case *computev1.RunRequest_Rebuild:
		h.machine.power, h.machine.rescue, h.machine.disk = vm.PowerShutdown, "", x.Rebuild.GetSpec().GetImage().GetId()
	case *computev1.RunRequest_Snapshot:
		h.image = x.Snapshot.GetImageId()
	case *computev1.RunRequest_Export:
		if h.image != x.Export.GetImageId() {
			return vm.Refuse(vm.ReasonNotFound, "no such image on this host")
		}
	case *computev1.RunRequest_Drop:
		h.image = ""
	case *computev1.RunRequest_SetPassword:
		h.machine.password = string(x.SetPassword.GetSealed())
	case *computev1.RunRequest_Create, *computev1.RunRequest_Start:
		if h.machine.power == vm.PowerSuspended {
			return vm.Refuse(vm.ReasonDriver, "the machine is suspended")
		}
		w.boot(h, h.machine.power != vm.PowerRunning && h.machine.power != vm.PowerPaused)
	case *computev1.RunRequest_Reboot:
		if h.machine.power == vm.PowerSuspended {
			return vm.Refuse(vm.ReasonDriver, "the machine is shutdown")
		}
		w.boot(h, true)
	case *computev1.RunRequest_Stop:
		h.machine.power = vm.PowerShutdown
	case *computev1.RunRequest_Pause:
		return h.machine.between(vm.PowerRunning, vm.PowerPaused)
	case *computev1.RunRequest_Unpause:
		return h.machine.between(vm.PowerPaused, vm.PowerRunning)
	}
	return nil
}

func (w *world) boot(h *host, anew bool) {
	for _, other := range w.hosts {
		w.twice = w.twice || other != h && other.executes()
	}
	h.machine.power = vm.PowerRunning
	if anew {
		h.machine.boots++
	}
}

func (m *machine) between(from, to vm.PowerState) error {
	if m.power != from && m.power != to {
		return vm.Refuse(vm.ReasonDriver, "the machine is %s", m.power)
	}
	m.power = to
	return nil
}

func (h *host) executes() bool { return h.machine != nil && h.machine.power == vm.PowerRunning }

func (h *host) look() *computev1.Observation {
	if h.machine == nil {
		return &computev1.Observation{InstanceId: "i1", PowerState: string(vm.PowerNoState)}
	}
	return &computev1.Observation{InstanceId: "i1", Exists: true, PowerState: string(h.machine.power), Rescue: h.machine.rescue}
}

// settle ends a task as the conductor does, and checks what must be true after any end.
func settle(t *testing.T, kind tasks.Kind, w *tasks.Work, out workflow.Outcome) {
	t.Helper()
	s := worldOf(w).site
	w.Instance.TaskState = kind.State(fsm.Mode(w.Task.Mode), out.Log[len(out.Log)-1].Step)
	kind.Settle(w, out)
	save(w)
	in := w.Instance
	require.False(t, s.twice, "P2: it executed on two hosts")
	require.Equal(t, in.State == vm.Error, in.Error != nil, "an error says what it is")
	for name, h := range s.hosts {
		_, promised := h.promised.Instances[in.ID]
		require.Equal(t, in.Host == name && !w.Gone, promised, "P6: the promise on %s", name)
		if h.machine != nil {
			require.Contains(t, in.Footprint, name, "P6: something is there that no record names")
			require.Contains(t, w.Task.Hosts, name, "A4: a takeover would not have fenced it")
		}
	}
	if in.Host != "" && !w.Gone {
		require.Contains(t, in.Footprint, in.Host)
	}
}

// listener keeps what an agent was told.
type listener struct {
	*world
	told **computev1.RunRequest
}

func (l *listener) Act(ctx context.Context, name vm.HostName, do tasks.Action, beat workflow.Beat) (*computev1.StepResult, error) {
	return l.world.Act(ctx, name, func(r *computev1.RunRequest) { do(r); *l.told = r }, beat)
}
