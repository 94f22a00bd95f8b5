package invariant

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"leasehold/vm"
)

// Record is one key of the store at one revision.
type Record struct {
	Key   string // behind the prefix: instances/<id>
	Value []byte
	Lease int64 // 0 without
}

// Violation is a promise that does not hold.
type Violation struct {
	Promise string // P1, P2 or P6
	Message string // which record, and what it should have been
}

func (v Violation) String() string { return v.Promise + ": " + v.Message }

// Check returns what does not hold among the live records of one store, all read at one revision. The order is that of
// the promises, then of the messages.
func Check(records []Record) []Violation {
	s := read(records)
	for _, rule := range []func(*store){
		leases, reservations, openTasks, claims, held, taken, allocations, placements, sightings, tickets, cancels, names,
	} {
		rule(s)
	}
	slices.SortFunc(s.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Promise, b.Promise), cmp.Compare(a.Message, b.Message))
	})
	return s.found
}

// leased is a record that ends with a lease.
type leased[T any] struct {
	rec   T
	lease int64
}

// store is the records by what they are.
type store struct {
	instances   map[vm.InstanceID]*vm.Instance
	observed    map[vm.InstanceID]*vm.Observed
	volumes     map[string]*vm.Volume
	ports       map[string]*vm.Port
	images      map[string]*vm.Image
	allocations map[vm.HostName]*vm.Allocations
	tasks       map[vm.TaskID]*vm.Task
	cancels     []vm.TaskID
	tickets     map[vm.Resource][]vm.TaskID
	claims      map[vm.TaskID]leased[*vm.Claim]
	locks       map[vm.Resource]leased[*vm.Lock]
	names       map[string]string // kind/project/name -> id
	leases      map[string]int64

	found []Violation
}

func (s *store) say(promise, format string, args ...any) {
	s.found = append(s.found, Violation{promise, fmt.Sprintf(format, args...)})
}

func read(records []Record) *store {
	s := &store{
		instances: map[vm.InstanceID]*vm.Instance{}, observed: map[vm.InstanceID]*vm.Observed{},
		volumes: map[string]*vm.Volume{}, ports: map[string]*vm.Port{}, images: map[string]*vm.Image{},
		allocations: map[vm.HostName]*vm.Allocations{}, tasks: map[vm.TaskID]*vm.Task{},
		tickets: map[vm.Resource][]vm.TaskID{}, claims: map[vm.TaskID]leased[*vm.Claim]{},
		locks: map[vm.Resource]leased[*vm.Lock]{}, names: map[string]string{}, leases: map[string]int64{},
	}
	for _, r := range records {
		s.leases[r.Key] = r.Lease
		if err := s.take(r); err != nil {
			s.say("P6", "%s cannot be read, so nobody can release it: %v", r.Key, err)
		}
	}
	return s
}

// take files one record. What no rule looks at is left out.
func (s *store) take(r Record) (err error) {
	table, rest, _ := strings.Cut(r.Key, "/")
	switch table {
	case "instances":
		s.instances[vm.InstanceID(rest)], err = decoded[vm.Instance](r)
	case "observed":
		s.observed[vm.InstanceID(rest)], err = decoded[vm.Observed](r)
	case "volumes":
		s.volumes[rest], err = decoded[vm.Volume](r)
	case "ports":
		s.ports[rest], err = decoded[vm.Port](r)
	case "images":
		s.images[rest], err = decoded[vm.Image](r)
	case "allocations":
		s.allocations[vm.HostName(rest)], err = decoded[vm.Allocations](r)
	case "tasks":
		s.tasks[vm.TaskID(rest)], err = decoded[vm.Task](r)
	case "cancels":
		s.cancels = append(s.cancels, vm.TaskID(rest))
	case "queue":
		on, task := split(rest)
		s.tickets[on] = append(s.tickets[on], vm.TaskID(task))
	case "claims":
		var c *vm.Claim
		c, err = decoded[vm.Claim](r)
		s.claims[vm.TaskID(rest)] = leased[*vm.Claim]{c, r.Lease}
	case "locks":
		var l *vm.Lock
		l, err = decoded[vm.Lock](r)
		on, _ := split(rest)
		s.locks[on] = leased[*vm.Lock]{l, r.Lease}
	case "names":
		var owner *struct{ ID string }
		owner, err = decoded[struct{ ID string }](r)
		s.names[rest] = owner.ID
	}
	return err
}

// decoded is the record, zero when it cannot be read: it is there all the same.
func decoded[T any](r Record) (*T, error) {
	rec := new(T)
	return rec, json.Unmarshal(r.Value, rec)
}

func split(rest string) (on vm.Resource, more string) {
	kind, id, _ := strings.Cut(rest, "/")
	id, more, _ = strings.Cut(id, "/")
	return vm.Resource{Kind: vm.Kind(kind), ID: id}, more
}
