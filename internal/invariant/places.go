package invariant

import (
	"slices"
	"strings"

	"leasehold/vm"
)

// allocations: what is promised on a host is promised to instances that are there, and adds up.
func allocations(s *store) {
	for host, a := range s.allocations {
		var sum vm.Size
		for id, size := range a.Instances {
			sum = sum.Plus(size)
			switch in := s.instances[id]; {
			case in == nil:
				s.say("P6", "host %s has room promised to instance %s, which does not exist", host, id)
			case in.Host != host:
				s.say("P2", "host %s has room promised to instance %s, whose host is %q", host, id, in.Host)
			case in.Task == "" && in.Size != size:
				s.say("P6", "host %s has %+v promised to instance %s, which takes %+v", host, size, id, in.Size)
			}
		}
		if sum != a.Sum {
			s.say("P6", "host %s says that %+v is promised, and its instances have %+v", host, a.Sum, sum)
		}
	}
}

// placements: an instance with a host has room there, and an idle one is looked for there when it is deleted. Only one that
// could not be made has none.
func placements(s *store) {
	for id, in := range s.instances {
		if in.Host == "" {
			if in.Task == "" && in.State != vm.Error {
				s.say("P2", "instance %s is %s, idle, and on no host", id, in.State)
			}
			continue
		}
		a := s.allocations[in.Host]
		if a == nil {
			s.say("P2", "instance %s is on host %s, where nothing is promised", id, in.Host)
		} else if _, ok := a.Instances[id]; !ok {
			s.say("P2", "instance %s is on host %s, where it has no room promised", id, in.Host)
		}
		if in.Task == "" && !slices.Contains(in.Footprint, in.Host) {
			s.say("P6", "instance %s is on host %s, which is not in its footprint: a delete would not look there", id, in.Host)
		}
	}
}

// sightings: only what exists is seen, and an idle instance is seen executing on its own host only.
func sightings(s *store) {
	for id, o := range s.observed {
		executes := o.PowerState == vm.PowerRunning || o.PowerState == vm.PowerPaused
		switch in := s.instances[id]; {
		case in == nil:
			s.say("P6", "instance %s was observed and does not exist", id)
		case in.Task == "" && executes && o.Host != in.Host:
			s.say("P2", "instance %s was last seen %s on host %s, and its host is %q", id, o.PowerState, o.Host, in.Host)
		}
	}
}

// tickets: who stands in a queue waits, and who waits stands in the queue of all that he needs.
func tickets(s *store) {
	for on, line := range s.tickets {
		for _, id := range line {
			switch task := s.tasks[id]; {
			case task == nil:
				s.say("P6", "task %s has a ticket for %s and is not open", id, on)
			case task.Status != vm.TaskWaiting:
				s.say("P6", "task %s has a ticket for %s and is %s", id, on, task.Status)
			case !slices.Contains(task.Shared, on):
				s.say("P6", "task %s has a ticket for %s, which it does not need", id, on)
			}
		}
	}
	for id, t := range s.tasks {
		if t.Status != vm.TaskWaiting {
			continue
		}
		for _, r := range t.Shared {
			if !slices.Contains(s.tickets[r], id) {
				s.say("P1", "task %s waits for %s without a ticket", id, r)
			}
		}
	}
}

func cancels(s *store) {
	for _, id := range s.cancels {
		if s.tasks[id] == nil {
			s.say("P6", "the cancel of task %s is there and the task is not open", id)
		}
	}
}

// names: a name belongs to the record that has it, and the record to its name.
func names(s *store) {
	has := map[string]string{}
	for id, in := range s.instances {
		if in.HiddenAt != nil {
			continue // its delete has given the name back
		}
		has[nameOf(vm.KindInstance, in.Project, in.Name)] = string(id)
	}
	for id, img := range s.images {
		has[nameOf(vm.KindImage, img.Project, img.Name)] = id
	}
	for name, id := range has {
		if owner, ok := s.names[name]; !ok || owner != id {
			s.say("P6", "%s belongs to %s and is kept for %q", name, id, owner)
		}
	}
	for name, owner := range s.names {
		kind, _, _ := strings.Cut(name, "/")
		_, exists := s.leases[kind+"s/"+owner]
		switch _, ok := has[name]; {
		case !exists:
			s.say("P6", "%s is kept for %s, which does not exist", name, owner)
		case !ok && (kind == string(vm.KindInstance) || kind == string(vm.KindImage)):
			s.say("P6", "%s is kept for %s, which has another name", name, owner)
		}
	}
}

func nameOf(kind vm.Kind, project vm.ProjectName, name string) string {
	return string(kind) + "/" + string(project) + "/" + name
}
