package locks

import (
	"fmt"
	"slices"
	"time"

	"leasehold/coord"
	"leasehold/vm"
)

// MaxResources is how many resources one task can take: three compares each within etcd's 128, less what else a
// transaction compares. An instance with 36 volumes and ports fits.
const MaxResources = 37

// Session is what a claim hangs on: a conductor's lease. *liveness.Session is one.
type Session interface {
	Conductor() vm.ConductorName
	Lease() int64
	Incarnation() string
}

// Set is the sorted resources that a task takes together.
type Set []vm.Resource

// NewSet sorts and removes doubles. A set that no transaction can take is refused.
func NewSet(rs ...vm.Resource) (Set, error) {
	s := slices.Clone(rs)
	slices.SortFunc(s, vm.Resource.Compare)
	s = slices.Compact(s)
	if len(s) > MaxResources {
		return nil, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot lock %d resources in one transaction: an instance has at most %d volumes and ports together", len(s),
			MaxResources-1)
	}
	return s, nil
}

// Unlocked are the guards of a first admission: nobody drives anything of the set. It is courtesy towards the holder,
// and the reason a refusal can name; the reservation's compare is the truth (L5).
func (s Set) Unlocked(k coord.Keys) []coord.Guard {
	gs := make([]coord.Guard, 0, len(s))
	for _, r := range s {
		gs = append(gs, coord.Absent(k.Lock(r)))
	}
	return gs
}

// Claim is the guard and the writes by which a session becomes the driver of task: the claim, which must be absent, and
// every lock of the set, whoever is named in it (an overwritten lock is one that this task, or the task it preempts, left).
func (s Set) Claim(k coord.Keys, by Session, task vm.TaskID, now time.Time) (coord.Guard, []coord.Write) {
	ws := make([]coord.Write, 0, len(s)+1)
	ws = append(ws, coord.PutLeased(k.Claim(task), vm.Claim{
		Schema: vm.Schema, Conductor: by.Conductor(), Incarnation: by.Incarnation(), Since: now,
	}, by.Lease()))
	for _, r := range s {
		ws = append(ws, coord.PutLeased(k.Lock(r), vm.Lock{
			Schema: vm.Schema, Task: task, Conductor: by.Conductor(), Incarnation: by.Incarnation(), Since: now,
		}, by.Lease()))
	}
	return coord.Absent(k.Claim(task)), ws
}

// Held is a claim with its locks, as the transaction that wrote it made it.
type Held struct {
	Task  vm.TaskID
	Fence vm.Fence
	Set   Set
	store coord.Guard
	keys  coord.Keys
}

// Hold is the Held that a committed Claim at fence gives. store is the guard of the store's generation.
func Hold(k coord.Keys, task vm.TaskID, fence vm.Fence, set Set, store coord.Guard) Held {
	return Held{Task: task, Fence: fence, Set: set, store: store, keys: k}
}

// Guards hold while this very claim stands in a store of this generation. P1: every write for a task carries them.
func (h Held) Guards() []coord.Guard {
	return []coord.Guard{coord.CreatedAt(h.keys.Claim(h.Task), h.Fence.Revision), h.store}
}

// Release are the writes that give up the claim and all locks, in the transaction that ends or hands over the task.
func (h Held) Release() []coord.Write {
	return Forget(h.keys, h.Task, h.Set)
}

// Forget removes claim and locks of a task, whoever holds them: for a transaction that closes the task from outside.
func Forget(k coord.Keys, task vm.TaskID, set Set) []coord.Write {
	ws := make([]coord.Write, 0, len(set)+1)
	ws = append(ws, coord.Delete(k.Claim(task)))
	for _, r := range set {
		ws = append(ws, coord.Delete(k.Lock(r)))
	}
	return ws
}

// Lost says whether a refused write was refused because the claim is not this one any more.
func (h Held) Lost(err *coord.ConflictError) bool {
	return slices.Contains(err.Failed, h.keys.Claim(h.Task)) || slices.Contains(err.Failed, h.keys.Store())
}

// LockedError is the refusal for a lock that stands in the way.
func LockedError(what string, r vm.Resource, l vm.Lock) *vm.Refusal {
	return &vm.Refusal{
		Why: vm.ReasonLocked, Task: l.Task, Holder: string(l.Conductor), Since: l.Since,
		Message: fmt.Sprintf("cannot %s: %s is locked by task %s, driven by conductor %s", what, r, l.Task, l.Conductor),
	}
}
