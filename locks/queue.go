package locks

import (
	"maps"
	"slices"
	"strings"
	"time"

	"leasehold/coord"
	"leasehold/vm"
)

// Enqueue are the writes that put a waiting task into the queue of each shared resource, all at one revision (L3).
func Enqueue(k coord.Keys, shared Set, task vm.TaskID, now time.Time) []coord.Write {
	ws := make([]coord.Write, 0, len(shared))
	for _, r := range shared {
		ws = append(ws, coord.Put(k.Ticket(r, task), vm.Ticket{Schema: vm.Schema, Task: task, Since: now}))
	}
	return ws
}

// Unqueued are the guards of a fast admission: nobody waits for any of shared, so nobody is overtaken.
func Unqueued(k coord.Keys, shared Set) []coord.Guard {
	gs := make([]coord.Guard, 0, len(shared))
	for _, r := range shared {
		gs = append(gs, coord.NoneUnder(k.QueueOf(r)))
	}
	return gs
}

// Dequeue removes a task's tickets: in the grant, and in every transaction that closes a waiting task.
func Dequeue(k coord.Keys, shared Set, task vm.TaskID) []coord.Write {
	ws := make([]coord.Write, 0, len(shared))
	for _, r := range shared {
		ws = append(ws, coord.Delete(k.Ticket(r, task)))
	}
	return ws
}

// Queue reads who waits for what from the cache. It keeps no state of its own.
type Queue struct{ Cache *coord.Cache }

// Place is a ticket as it stands in a queue.
type Place struct {
	Task     vm.TaskID
	Revision int64 // the ticket's create revision: the order
	Since    time.Time
}

// Line is everyone who waits for r, oldest first.
func (q Queue) Line(k coord.Keys, r vm.Resource) []Place {
	prefix := k.QueueOf(r)
	var line []Place
	for _, e := range q.Cache.Entries(coord.Queue) {
		if !strings.HasPrefix(e.Key, prefix) {
			continue
		}
		t, err := coord.Decoded[vm.Ticket](e)
		if err != nil {
			continue
		}
		line = append(line, Place{t.Task, e.Create, t.Since})
	}
	slices.SortFunc(line, func(a, b Place) int {
		if a.Revision != b.Revision {
			return int(a.Revision - b.Revision)
		}
		return strings.Compare(string(a.Task), string(b.Task))
	})
	return line
}

// Heads is who stood first in each queue that had anybody, as of one look at the cache. Who is in it stays first until his
// ticket goes, however old the look is: an older ticket cannot appear later. Who is not may have become first since.
type Heads map[vm.Resource]vm.TaskID

// Heads looks at every ticket once.
func (q Queue) Heads(k coord.Keys) Heads {
	heads, oldest := Heads{}, map[vm.Resource]int64{}
	for _, e := range q.Cache.Entries(coord.Queue) {
		_, rest, _ := k.Split(e.Key)
		r, task := SplitTicket(rest)
		if at, ok := oldest[r]; !ok || e.Create < at {
			heads[r], oldest[r] = task, e.Create
		}
	}
	return heads
}

// Tasks are those that stand first in at least one queue, each once.
func (h Heads) Tasks() []vm.TaskID {
	return slices.Compact(slices.Sorted(maps.Values(h)))
}

// First says whether task stood first in the queue of every one of shared.
func (h Heads) First(shared []vm.Resource, task vm.TaskID) bool {
	return !slices.ContainsFunc(shared, func(r vm.Resource) bool { return h[r] != task })
}

// Ahead returns who stands before task in the queue of r: nobody when ok is true. It is safe to decide from a cache that
// knows the task's own ticket: an older ticket cannot appear later, it can only go.
func (q Queue) Ahead(k coord.Keys, r vm.Resource, task vm.TaskID) (before Place, ok bool) {
	line := q.Line(k, r)
	if len(line) == 0 || line[0].Task == task {
		return Place{}, true
	}
	return line[0], false
}

// SplitTicket takes the rest of a queue key apart.
func SplitTicket(rest string) (vm.Resource, vm.TaskID) {
	r, task := coord.SplitResource(rest)
	return r, vm.TaskID(task)
}
