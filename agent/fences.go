package agent

import (
	"fmt"
	"time"

	"leasehold/vm"
)

// claim is what every command carries: who acts, on what, and how new that is.
type claim struct {
	fence     vm.Fence
	task      vm.TaskID // empty in verdicts of a registration, which no task gives
	instance  vm.InstanceID
	resources []vm.Resource // all that is touched, the instance among them
	epoch     int64
	conductor string // for logs
}

// accept raises the fences of everything c names, or refuses c because one is higher.
func (b *book) accept(c claim) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse(c); err != nil {
		return 0, err
	}
	return b.record(entry{Fence: &fenceEntry{c.fence, c.task, c.instance, c.resources}}), nil
}

// refuse compares the fence on arrival. b.mu is held. The gate in front of driver calls compares by itself.
func (b *book) refuse(c claim) error {
	known, on := b.memory.highest(c)
	if known.Compare(c.fence) > 0 { // mutant:fence-on-arrival
		return stale(c, known, on)
	}
	return nil
}

func (b *book) compare(c claim) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuse(c)
}

// begin puts a step in its place in the order (fence, sequence). A new one is recorded as begun, its number returned. One
// that was seen before is returned as recorded: whether it still runs, the caller knows.
func (b *book) begin(o order) (int64, *stepRecord, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse(o.claim); err != nil {
		return 0, nil, err
	}
	seen := b.memory.Tasks[o.task]
	if seen.Fence == o.fence && o.sequence <= seen.Sequence {
		s := b.memory.step(o.instance, o.task, o.fence, o.sequence)
		switch {
		case o.sequence < seen.Sequence, s == nil:
			return 0, nil, outOfOrder(o, seen.Sequence)
		case s.Digest != o.digest():
			return 0, nil, vm.Refuse(vm.ReasonKeyReused, "cannot %s: sequence %d under fence %s is the step %q, and not this one",
				o.step, o.sequence, o.fence, s.Step)
		}
		found := *s
		return 0, &found, nil
	}
	if err := b.buried(o); err != nil {
		return 0, nil, err
	}
	return b.record(entry{Begin: &beginEntry{
		fenceEntry: fenceEntry{o.fence, o.task, o.instance, o.resources},
		Sequence:   o.sequence, Step: o.step, Digest: o.digest(),
	}}), nil, nil
}

// gate says whether the next driver call of o may be made: it compares once more, under the instance's mutex (A3).
func (b *book) gate(o order) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, on := b.memory.highest(o.claim)
	if known.Compare(o.fence) > 0 { // mutant:fence-under-mutex
		return stale(o.claim, known, on)
	}
	if seen := b.memory.Tasks[o.task]; seen.Fence == o.fence && o.sequence < seen.Sequence {
		return outOfOrder(o, seen.Sequence)
	}
	return b.buried(o)
}

// buried refuses to make or start what was deleted here (A5). b.mu is held.
func (b *book) buried(o order) error {
	t, dead := b.memory.Tombstones[o.instance]
	if !dead || !o.action.revives {
		return nil
	}
	return vm.Refuse(vm.ReasonStateForbids, "cannot %s: instance %s was deleted on this host under fence %s at %s",
		o.action.name, o.instance, t.Fence, t.At.UTC().Format(time.RFC3339))
}

// stale is the refusal of a caller that was replaced: it names what was fenced higher, and how high.
func stale(c claim, known vm.Fence, on string) *vm.Refusal {
	r := vm.Refuse(vm.ReasonStaleFence, "cannot act for task %s under fence %s: %s carries fence %s", c.task, c.fence, on, known)
	r.Facts = map[string]string{"fence": known.String(), "resource": on}
	return r
}

func outOfOrder(o order, seen int64) *vm.Refusal {
	r := vm.Refuse(vm.ReasonStaleFence, "cannot %s: sequence %d under fence %s comes after sequence %d of the same task",
		o.step, o.sequence, o.fence, seen)
	r.Facts = map[string]string{"fence": o.fence.String(), "sequence": fmt.Sprint(seen)}
	return r
}
