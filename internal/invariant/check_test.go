package invariant_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/invariant"
	"leasehold/vm"
)

// snapshot is a store by key; leases are by key too.
type snapshot struct {
	values map[string]any
	leases map[string]int64
}

var size = vm.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}

func res(kind vm.Kind, id string) vm.Resource { return vm.Resource{Kind: kind, ID: id} }

// sound is a store in which one task of each kind is open: a stop that runs and has a volume, a create that nobody drives,
// and one that waits for the volume; and an idle instance.
func sound() snapshot {
	claim := vm.Claim{Conductor: "c1", Incarnation: "a1"}
	lock := vm.Lock{Task: "t1", Conductor: "c1", Incarnation: "a1"}
	volume := []vm.Resource{res(vm.KindVolume, "v1")}
	return snapshot{
		values: map[string]any{
			"store": vm.Store{ID: "store", Generation: 1},
			"instances/i1": vm.Instance{
				ID: "i1", Name: "one", Project: "p", State: vm.Active, Task: "t1", TaskState: vm.PoweringOff, Host: "h1", Size: size,
				Footprint: []vm.HostName{"h1"}, Image: "img",
			},
			"instances/i2": vm.Instance{ID: "i2", Name: "two", Project: "p", State: vm.Building, Task: "t2", TaskState: vm.Scheduling, Size: size},
			"instances/i3": vm.Instance{
				ID: "i3", Name: "three", Project: "p", State: vm.Stopped, Task: "t3", TaskState: vm.Attaching, Host: "h2", Size: size,
				Footprint: []vm.HostName{"h2"},
			},
			"instances/i4": vm.Instance{
				ID: "i4", Name: "four", Project: "p", State: vm.Active, Host: "h1", Size: size, Footprint: []vm.HostName{"h1"},
			},
			"observed/i1": vm.Observed{ID: "i1", Host: "h1", PowerState: vm.PowerRunning},
			"observed/i4": vm.Observed{ID: "i4", Host: "h1", PowerState: vm.PowerRunning},
			"volumes/v1":  vm.Volume{ID: "v1", Task: "t1"},
			"ports/p1":    vm.Port{ID: "p1"},
			"images/img":  vm.Image{ID: "img", Name: "default", Project: "p"},
			"hosts/h1":    vm.Host{ID: "h1", Name: "h1"},
			"allocations/h1": vm.Allocations{
				ID: "h1", Instances: map[vm.InstanceID]vm.Size{"i1": size, "i4": size}, Sum: size.Plus(size),
			},
			"allocations/h2":         vm.Allocations{ID: "h2", Instances: map[vm.InstanceID]vm.Size{"i3": size}, Sum: size},
			"tasks/t1":               vm.Task{ID: "t1", Status: vm.TaskRunning, Instance: "i1", Resources: []vm.Resource{res(vm.KindInstance, "i1")}, Shared: volume},
			"tasks/t2":               vm.Task{ID: "t2", Status: vm.TaskQueued, Instance: "i2", Resources: []vm.Resource{res(vm.KindInstance, "i2")}},
			"tasks/t3":               vm.Task{ID: "t3", Status: vm.TaskWaiting, Instance: "i3", Resources: []vm.Resource{res(vm.KindInstance, "i3")}, Shared: volume},
			"cancels/t1":             vm.Cancel{Task: "t1"},
			"queue/volume/v1/t3":     vm.Ticket{Task: "t3"},
			"claims/t1":              claim,
			"locks/instance/i1":      lock,
			"locks/volume/v1":        lock,
			"alive/conductor/c1":     vm.AliveConductor{Name: "c1"},
			"names/instance/p/one":   named("i1"),
			"names/instance/p/two":   named("i2"),
			"names/instance/p/three": named("i3"),
			"names/instance/p/four":  named("i4"),
			"names/image/p/default":  named("img"),
		},
		leases: map[string]int64{"claims/t1": 7, "locks/instance/i1": 7, "locks/volume/v1": 7, "alive/conductor/c1": 7},
	}
}

type owner struct {
	ID string `json:"id"`
}

func named(id string) owner { return owner{id} }

func (s snapshot) records(t *testing.T) []invariant.Record {
	t.Helper()
	var all []invariant.Record
	for key, v := range s.values {
		raw, ok := v.([]byte)
		if !ok {
			var err error
			raw, err = json.Marshal(v)
			require.NoError(t, err)
		}
		all = append(all, invariant.Record{Key: key, Value: raw, Lease: s.leases[key]})
	}
	return all
}

// change edits one record in place.
func change[T any](s snapshot, key string, edit func(*T)) {
	v := s.values[key].(T)
	edit(&v)
	s.values[key] = v
}

func TestASoundStoreHasNoViolation(t *testing.T) {
	require.Empty(t, invariant.Check(sound().records(t)))
	require.Empty(t, invariant.Check(nil))
}

func TestEachCorruptionIsFound(t *testing.T) {
	for _, c := range []struct {
		corrupt func(snapshot)
		want    []string // every violation, as "promise: message"
	}{
		{func(s snapshot) {
			s.leases["claims/t1"] = 0
			s.leases["locks/instance/i1"] = 0
			s.leases["locks/volume/v1"] = 0
		}, []string{
			"P6: claims/t1 has no lease: nobody's death would remove it",
			"P6: locks/instance/i1 has no lease: nobody's death would remove it",
			"P6: locks/volume/v1 has no lease: nobody's death would remove it",
		}},
		{func(s snapshot) { s.leases["tasks/t2"] = 9 }, []string{"P6: tasks/t2 hangs on lease 9: it would vanish with it"}},
		{func(s snapshot) { s.values["ports/p1"] = []byte("{") }, []string{"P6: ports/p1 cannot be read, so nobody can release it: unexpected end of JSON input"}},

		{
			func(s snapshot) { change(s, "instances/i4", func(i *vm.Instance) { i.TaskState = vm.Pausing }) },
			[]string{"P1: instance i4 is pausing without a task"},
		},
		{
			func(s snapshot) { change(s, "instances/i2", func(i *vm.Instance) { i.TaskState = vm.Idle }) },
			[]string{"P1: instance i2 is reserved for task t2 without a task_state"},
		},
		{func(s snapshot) {
			change(s, "instances/i4", func(i *vm.Instance) { i.Task, i.TaskState = "t9", vm.Pausing })
		}, []string{"P6: instance i4 is reserved for task t9, which is not open"}},
		{func(s snapshot) {
			change(s, "instances/i4", func(i *vm.Instance) { i.Task, i.TaskState = "t2", vm.Pausing })
		}, []string{"P1: instance i4 is reserved for task t2, which works on \"i2\""}},
		{
			func(s snapshot) { change(s, "instances/i4", func(i *vm.Instance) { i.State = vm.Deleted }) },
			[]string{"P6: instance i4 is deleted and still has a live record"},
		},
		{
			func(s snapshot) { change(s, "ports/p1", func(p *vm.Port) { p.Task = "t9" }) },
			[]string{"P6: port/p1 is reserved for task t9, which is not open"},
		},
		{
			func(s snapshot) { change(s, "ports/p1", func(p *vm.Port) { p.Task = "t2" }) },
			[]string{"P1: port/p1 is reserved for task t2, which does not name it"},
		},

		{
			func(s snapshot) { change(s, "tasks/t2", func(t *vm.Task) { t.Status = vm.TaskFailed }) },
			[]string{"P6: task t2 is failed and still among the open ones"},
		},
		{
			func(s snapshot) { delete(s.values, "instances/i2"); delete(s.values, "names/instance/p/two") },
			[]string{"P6: task t2 is open and its instance i2 does not exist"},
		},
		{
			func(s snapshot) {
				change(s, "instances/i2", func(i *vm.Instance) { i.Task, i.TaskState = "", vm.Idle; i.State = vm.Error })
			},
			[]string{"P1: task t2 is open and its instance i2 is reserved for \"\""},
		},

		{
			func(s snapshot) { s.values["claims/t9"] = vm.Claim{Conductor: "c2"}; s.leases["claims/t9"] = 8 },
			[]string{"P6: task t9 is claimed by conductor c2 and is not open"},
		},
		{
			func(s snapshot) { s.values["claims/t2"] = vm.Claim{Conductor: "c2"}; s.leases["claims/t2"] = 8 },
			[]string{"P1: task t2 is claimed by conductor c2 and is queued"},
		},
		{func(s snapshot) { delete(s.values, "locks/instance/i1") }, []string{"P1: task t1 is claimed and has not locked instance/i1"}},
		{
			func(s snapshot) {
				s.values["locks/port/p1"] = s.values["locks/volume/v1"]
				s.leases["locks/port/p1"] = 7
			},
			[]string{"P6: the lock on port/p1 is held for task t1, which does not work on it"},
		},
		{func(s snapshot) {
			s.values["locks/port/p1"] = vm.Lock{Task: "t9", Conductor: "c1", Incarnation: "a1"}
			s.leases["locks/port/p1"] = 7
		}, []string{"P6: the lock on port/p1 is held for task t9, which is not open"}},
		{func(s snapshot) {
			s.values["locks/instance/i2"] = vm.Lock{Task: "t2", Conductor: "c1", Incarnation: "a1"}
			s.leases["locks/instance/i2"] = 7
		}, []string{"P1: the lock on instance/i2 is held for task t2, which nobody has claimed"}},
		{
			func(s snapshot) {
				change(s, "locks/volume/v1", func(l *vm.Lock) { l.Conductor, l.Incarnation = "c2", "b2" })
			},
			[]string{"P1: the lock on volume/v1 is held by conductor c2 (b2) and its task t1 by c1 (a1)"},
		},
		{
			func(s snapshot) { s.leases["locks/volume/v1"] = 8 },
			[]string{"P1: the lock on volume/v1 hangs on lease 8 and the claim of its task t1 on 7"},
		},

		{
			func(s snapshot) { change(s, "volumes/v1", func(v *vm.Volume) { v.Task = "" }) },
			[]string{`P1: task t1 is running and volume/v1 is reserved for ""`},
		},
		{func(s snapshot) { change(s, "volumes/v1", func(v *vm.Volume) { v.Task = "t3" }) }, []string{
			`P1: task t1 is running and volume/v1 is reserved for "t3"`,
			"P1: volume/v1 is reserved for task t3, which still waits",
		}},

		{func(s snapshot) { change(s, "allocations/h1", func(a *vm.Allocations) { a.Sum = size }) }, []string{
			"P6: host h1 says that {VCPUs:1 MemoryMiB:128 DiskGiB:1} is promised, and its instances have {VCPUs:2 MemoryMiB:256 DiskGiB:2}",
		}},
		{
			func(s snapshot) { promise(s, "h2", "i9", size) },
			[]string{"P6: host h2 has room promised to instance i9, which does not exist"},
		},
		{
			func(s snapshot) { promise(s, "h2", "i4", size) },
			[]string{`P2: host h2 has room promised to instance i4, whose host is "h1"`},
		},
		{func(s snapshot) { promise(s, "h1", "i4", vm.Size{}) }, []string{
			"P6: host h1 has {VCPUs:0 MemoryMiB:0 DiskGiB:0} promised to instance i4, which takes {VCPUs:1 MemoryMiB:128 DiskGiB:1}",
		}},
		{func(s snapshot) { delete(s.values, "allocations/h2") }, []string{"P2: instance i3 is on host h2, where nothing is promised"}},
		{
			func(s snapshot) { s.values["allocations/h2"] = vm.Allocations{ID: "h2"} },
			[]string{"P2: instance i3 is on host h2, where it has no room promised"},
		},
		{
			func(s snapshot) { change(s, "instances/i4", func(i *vm.Instance) { i.Footprint = nil }) },
			[]string{"P6: instance i4 is on host h1, which is not in its footprint: a delete would not look there"},
		},

		{func(s snapshot) { s.values["observed/i9"] = vm.Observed{ID: "i9"} }, []string{"P6: instance i9 was observed and does not exist"}},
		{
			func(s snapshot) { change(s, "observed/i4", func(o *vm.Observed) { o.Host = "h2" }) },
			[]string{`P2: instance i4 was last seen running on host h2, and its host is "h1"`},
		},

		{func(s snapshot) { s.values["queue/volume/v1/t9"] = vm.Ticket{Task: "t9"} }, []string{"P6: task t9 has a ticket for volume/v1 and is not open"}},
		{func(s snapshot) { s.values["queue/volume/v1/t1"] = vm.Ticket{Task: "t1"} }, []string{"P6: task t1 has a ticket for volume/v1 and is running"}},
		{func(s snapshot) { s.values["queue/volume/v2/t3"] = vm.Ticket{Task: "t3"} }, []string{"P6: task t3 has a ticket for volume/v2, which it does not need"}},
		{func(s snapshot) { delete(s.values, "queue/volume/v1/t3") }, []string{"P1: task t3 waits for volume/v1 without a ticket"}},
		{func(s snapshot) { s.values["cancels/t9"] = vm.Cancel{Task: "t9"} }, []string{"P6: the cancel of task t9 is there and the task is not open"}},

		{func(s snapshot) { delete(s.values, "names/instance/p/four") }, []string{`P6: instance/p/four belongs to i4 and is kept for ""`}},
		{func(s snapshot) { s.values["names/instance/p/four"] = named("i2") }, []string{`P6: instance/p/four belongs to i4 and is kept for "i2"`}},
		{func(s snapshot) { s.values["names/instance/p/five"] = named("i4") }, []string{"P6: instance/p/five is kept for i4, which has another name"}},
		{func(s snapshot) { s.values["names/volume/p/disk"] = named("v9") }, []string{"P6: volume/p/disk is kept for v9, which does not exist"}},
		{func(s snapshot) { delete(s.values, "names/image/p/default") }, []string{`P6: image/p/default belongs to img and is kept for ""`}},
	} {
		s := sound()
		c.corrupt(s)
		var got []string
		for _, v := range invariant.Check(s.records(t)) {
			got = append(got, fmt.Sprint(v))
		}
		require.Equal(t, c.want, got)
	}
}

// promise gives an instance room on a host, with a sum that is right.
func promise(s snapshot, host vm.HostName, id vm.InstanceID, room vm.Size) {
	change(s, "allocations/"+string(host), func(a *vm.Allocations) {
		sum := room
		all := map[vm.InstanceID]vm.Size{id: room}
		for other, held := range a.Instances {
			if other != id {
				all[other] = held
				sum = sum.Plus(held)
			}
		}
		a.Instances, a.Sum = all, sum
	})
}
