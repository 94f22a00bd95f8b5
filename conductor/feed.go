package conductor

import (
	"slices"
	"sync"
	"time"

	"leasehold/coord"
	"leasehold/vm"
)

// keepChanges is how many changes can be replayed at least; twice as many are kept at most. A task that stops a machine
// makes about 12: 8192 are those of 600 tasks, in some 20 MB.
const keepChanges = 8192

// feed keeps the last changes of the cache for those who follow events. It only keeps them: what they mean is worked out by
// whoever sends them, when somebody listens.
type feed struct {
	cache *coord.Cache

	mu    sync.Mutex
	ring  []happened
	first int64 // number of ring[0]; numbers never repeat
	floor int64 // changes up to this revision are not known here
	wake  chan struct{}
}

type happened struct {
	coord.Change
	at time.Time
}

func newFeed(c *coord.Cache) *feed { return &feed{cache: c, wake: make(chan struct{})} }

// changed is told every change of the cache. What filled it first is no event.
func (f *feed) changed(changes []coord.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.cache.Ready():
	default:
		f.floor = f.cache.Revision()
		return
	}
	now := time.Now().UTC()
	for _, ch := range changes {
		f.ring = append(f.ring, happened{ch, now})
	}
	if over := len(f.ring) - keepChanges; over > keepChanges { // seldom, because it copies
		f.floor = f.ring[over-1].Revision
		f.first += int64(over)
		f.ring = slices.Clone(f.ring[over:])
	}
	close(f.wake)
	f.wake = make(chan struct{})
}

// position is where the changes of a revision begin; 0 is now. too_late means that some are forgotten already.
func (f *feed) position(from int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from == 0 {
		return f.first + int64(len(f.ring)), nil
	}
	if from <= f.floor {
		return 0, f.tooLate(from)
	}
	i := slices.IndexFunc(f.ring, func(h happened) bool { return h.Revision >= from })
	if i < 0 {
		i = len(f.ring)
	}
	return f.first + int64(i), nil
}

// since returns what happened from a position on, the next position, and a channel that is closed when there is more.
func (f *feed) since(at int64) (batch []happened, next int64, wake <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at < f.first {
		return nil, 0, nil, f.tooLate(f.floor)
	}
	batch = slices.Clone(f.ring[at-f.first:])
	return batch, at + int64(len(batch)), f.wake, nil
}

func (f *feed) tooLate(from int64) error {
	return vm.Refuse(vm.ReasonTooLate,
		"cannot send events from revision %d: this conductor knows those after %d; list again, and follow from the revision of the list on",
		from, f.floor)
}
