package scheduler

import (
	"fmt"
	"maps"
	"strings"

	"leasehold/vm"
)

// FullError says that a host has no room for an instance. Whoever decided to place it there read older allocations.
type FullError struct {
	Host     vm.HostName
	Instance vm.InstanceID
	Short    []Shortage
}

// Reason is capacity.
func (e *FullError) Reason() vm.Reason { return vm.ReasonCapacity }

func (e *FullError) Error() string {
	var short []string
	for _, s := range e.Short {
		short = append(short, s.String())
	}
	return fmt.Sprintf("cannot reserve room for instance %s on host %s: short of %s", e.Instance, e.Host, strings.Join(short, "; "))
}

// Reserve promises size on a host to an instance, in place of what the instance held there before. It returns a
// *FullError when the new sum does not fit capacity; what asks for no more than it holds always fits, also on a host that
// shrank. The input is left as it was.
func Reserve(alloc vm.Allocations, id vm.InstanceID, size, capacity vm.Size) (vm.Allocations, error) {
	if !(vm.Size{}).Fits(size) {
		return vm.Allocations{}, vm.Refuse(vm.ReasonInvalidArgument, "cannot reserve a size below zero for instance %s: %+v", id, size)
	}
	next := Release(alloc, id)
	if held, again := alloc.Instances[id]; !again || !size.Fits(held) {
		if short := shortages(size, capacity.Minus(next.Sum)); len(short) > 0 {
			return vm.Allocations{}, &FullError{Host: alloc.Name, Instance: id, Short: short}
		}
	}
	next.Instances[id] = size
	next.Sum = next.Sum.Plus(size)
	return next, nil
}

// Release takes back what an instance was promised on a host (P6); nothing changes when that is nothing. Sum is counted
// anew, never carried on, so that I1 holds whatever was read. The input is left as it was.
func Release(alloc vm.Allocations, id vm.InstanceID) vm.Allocations {
	next := alloc
	next.Instances = make(map[vm.InstanceID]vm.Size, len(alloc.Instances)+1)
	maps.Copy(next.Instances, alloc.Instances)
	delete(next.Instances, id)
	next.Sum = vm.Size{}
	for _, size := range next.Instances {
		next.Sum = next.Sum.Plus(size)
	}
	return next
}
