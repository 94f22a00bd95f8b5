package invariant

import (
	"slices"
	"strings"

	"leasehold/vm"
)

// leases: a key under a leased prefix without a lease is an immortal lock; a durable record with one would vanish.
func leases(s *store) {
	for key, lease := range s.leases {
		table, _, _ := strings.Cut(key, "/")
		ends := table == "claims" || table == "locks" || table == "alive"
		switch {
		case ends && lease == 0:
			s.say("P6", "%s has no lease: nobody's death would remove it", key)
		case !ends && lease != 0:
			s.say("P6", "%s hangs on lease %x: it would vanish with it", key, lease)
		}
	}
}

// reservations: what is reserved is reserved for an open task that says so too.
func reservations(s *store) {
	for id, in := range s.instances {
		switch task := s.tasks[in.Task]; {
		case in.Task == "" && in.TaskState != vm.Idle:
			s.say("P1", "instance %s is %s without a task", id, in.TaskState)
		case in.Task == "":
		case in.TaskState == vm.Idle:
			s.say("P1", "instance %s is reserved for task %s without a task_state", id, in.Task)
		case task == nil:
			s.say("P6", "instance %s is reserved for task %s, which is not open", id, in.Task)
		case task.Instance != id:
			s.say("P1", "instance %s is reserved for task %s, which works on %q", id, in.Task, task.Instance)
		}
		if in.State == vm.Deleted && (in.Task == "" || in.HiddenAt == nil) {
			s.say("P6", "instance %s is deleted and still has a live record", id)
		}
	}
	for id, v := range s.volumes {
		s.reserved(vm.Resource{Kind: vm.KindVolume, ID: id}, v.Task)
	}
	for id, p := range s.ports {
		s.reserved(vm.Resource{Kind: vm.KindPort, ID: id}, p.Task)
	}
}

func (s *store) reserved(r vm.Resource, id vm.TaskID) {
	if id == "" {
		return
	}
	task := s.tasks[id]
	switch {
	case task == nil:
		s.say("P6", "%s is reserved for task %s, which is not open", r, id)
	case !slices.Contains(task.Resources, r) && !slices.Contains(task.Shared, r):
		s.say("P1", "%s is reserved for task %s, which does not name it", r, id)
	}
}

// openTasks: an open task has its instance reserved, and is really open.
func openTasks(s *store) {
	for id, t := range s.tasks {
		if t.Status.Terminal() {
			s.say("P6", "task %s is %s and still among the open ones", id, t.Status)
		}
		if t.Instance == "" {
			continue
		}
		switch in := s.instances[t.Instance]; {
		case in == nil:
			s.say("P6", "task %s is open and its instance %s does not exist", id, t.Instance)
		case in.Task != id:
			s.say("P1", "task %s is open and its instance %s is reserved for %q", id, t.Instance, in.Task)
		}
	}
}

// claims: only a task that may be driven is claimed.
func claims(s *store) {
	for id, c := range s.claims {
		switch task := s.tasks[id]; {
		case task == nil:
			s.say("P6", "task %s is claimed by conductor %s and is not open", id, c.rec.Conductor)
		case task.Status != vm.TaskRunning:
			s.say("P1", "task %s is claimed by conductor %s and is %s", id, c.rec.Conductor, task.Status)
		}
	}
}

// held: a lock is held by the conductor that has the claim of its task, under the same lease, and a claimed task has locked
// all that it works on and nothing else.
func held(s *store) {
	has := map[vm.TaskID][]vm.Resource{}
	for on, l := range s.locks {
		id := l.rec.Task
		has[id] = append(has[id], on)
		claim, claimed := s.claims[id]
		switch {
		case s.tasks[id] == nil:
			s.say("P6", "the lock on %s is held for task %s, which is not open", on, id)
		case !claimed:
			s.say("P1", "the lock on %s is held for task %s, which nobody has claimed", on, id)
		case l.rec.Conductor != claim.rec.Conductor || l.rec.Incarnation != claim.rec.Incarnation:
			s.say("P1", "the lock on %s is held by conductor %s (%s) and its task %s by %s (%s)", on,
				l.rec.Conductor, l.rec.Incarnation, id, claim.rec.Conductor, claim.rec.Incarnation)
		case l.lease != claim.lease:
			s.say("P1", "the lock on %s hangs on lease %x and the claim of its task %s on %x", on, l.lease, id, claim.lease)
		}
	}
	for id := range s.claims {
		task := s.tasks[id]
		if task == nil || task.Status != vm.TaskRunning {
			continue
		}
		for _, r := range all(task) {
			if !slices.Contains(has[id], r) {
				s.say("P1", "task %s is claimed and has not locked %s", id, r)
			}
		}
		for _, r := range has[id] {
			if !slices.Contains(all(task), r) {
				s.say("P6", "the lock on %s is held for task %s, which does not work on it", r, id)
			}
		}
	}
}

// all is what a task that does not wait has taken.
func all(t *vm.Task) []vm.Resource { return slices.Concat(t.Resources, t.Shared) }

// taken: a task that does not wait has reserved what it shares with others; one that waits has not.
func taken(s *store) {
	for id, t := range s.tasks {
		for _, r := range t.Shared {
			v := s.volumes[r.ID]
			switch {
			case r.Kind != vm.KindVolume || v == nil:
			case t.Status == vm.TaskWaiting && v.Task == id:
				s.say("P1", "%s is reserved for task %s, which still waits", r, id)
			case t.Status != vm.TaskWaiting && v.Task != id:
				s.say("P1", "task %s is %s and %s is reserved for %q", id, t.Status, r, v.Task)
			}
		}
	}
}
