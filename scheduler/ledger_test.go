package scheduler_test

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/require"

	"leasehold/scheduler"
	"leasehold/vm"
)

// op is one thing that happens to a ledger, made up by testing/quick.
type op struct {
	ID                  uint8
	VCPUs, Memory, Disk uint8
	Release             bool
}

func (o op) id() vm.InstanceID { return vm.InstanceID("i" + string('a'+rune(o.ID%8))) }

func (o op) size() vm.Size {
	return vm.Size{VCPUs: int(o.VCPUs % 5), MemoryMiB: vm.MiB(o.Memory), DiskGiB: vm.GiB(o.Disk)}
}

// I1, I2, I3 for any history of reservations and releases.
func TestTheLedgerKeepsItsSum(t *testing.T) {
	capacity := vm.Size{VCPUs: 12, MemoryMiB: 600, DiskGiB: 700}
	refused, kept := 0, 0
	history := func(ops []op) bool {
		alloc := vm.Allocations{Name: "h1"}
		model := map[vm.InstanceID]vm.Size{}
		for _, o := range ops {
			before := maps.Clone(alloc.Instances)
			next, err := step(alloc, o, capacity)
			again, errAgain := step(next, o, capacity)
			require.Equal(t, before, alloc.Instances, "the input changed")
			if _, full := errors.AsType[*scheduler.FullError](err); full {
				refused++
				others := maps.Clone(model)
				delete(others, o.id())
				require.False(t, sum(others).Plus(o.size()).Fits(capacity), "refused what fits")
				continue
			}
			require.NoError(t, err)
			require.NoError(t, errAgain)
			require.Equal(t, next, again, "twice is not once")
			kept++
			if delete(model, o.id()); !o.Release {
				model[o.id()] = o.size()
			}
			alloc = next
			require.Equal(t, model, alloc.Instances)
			require.Equal(t, sum(model), alloc.Sum)
			require.True(t, alloc.Sum.Fits(capacity))
		}
		return true
	}
	require.NoError(t, quick.Check(history, &quick.Config{MaxCount: 200}))
	require.NotZero(t, refused, "never full: nothing was shown")
	require.NotZero(t, kept)
}

func step(alloc vm.Allocations, o op, capacity vm.Size) (vm.Allocations, error) {
	if o.Release {
		return scheduler.Release(alloc, o.id()), nil
	}
	return scheduler.Reserve(alloc, o.id(), o.size(), capacity)
}

func sum(instances map[vm.InstanceID]vm.Size) (all vm.Size) {
	for _, size := range instances {
		all = all.Plus(size)
	}
	return all
}

func TestReserveOnAFullHostSaysWhatIsShort(t *testing.T) {
	capacity := vm.Size{VCPUs: 4, MemoryMiB: 1000, DiskGiB: 10}
	alloc, err := scheduler.Reserve(vm.Allocations{Name: "h1"}, "a", vm.Size{VCPUs: 3, MemoryMiB: 100, DiskGiB: 10}, capacity)
	require.NoError(t, err)

	_, err = scheduler.Reserve(alloc, "b", vm.Size{VCPUs: 2, MemoryMiB: 100, DiskGiB: 5}, capacity)
	require.EqualError(t, err, "cannot reserve room for instance b on host h1: short of vcpus: need 2, free 1; disk: need 5 GiB, free 0")
	require.Equal(t, vm.ReasonCapacity, vm.ReasonOf(err))
}

func TestAShrunkHostKeepsWhatItPromised(t *testing.T) {
	held, shrunk := vm.Size{VCPUs: 4, MemoryMiB: 400}, vm.Size{VCPUs: 2, MemoryMiB: 200}
	alloc, err := scheduler.Reserve(vm.Allocations{}, "a", held, held)
	require.NoError(t, err)

	again, err := scheduler.Reserve(alloc, "a", held, shrunk)
	require.NoError(t, err)
	require.Equal(t, alloc, again)
	less, err := scheduler.Reserve(alloc, "a", vm.Size{VCPUs: 3, MemoryMiB: 400}, shrunk)
	require.NoError(t, err)
	require.Equal(t, 3, less.Sum.VCPUs)
	_, err = scheduler.Reserve(alloc, "a", vm.Size{VCPUs: 5, MemoryMiB: 100}, shrunk)
	require.Error(t, err)
	_, err = scheduler.Reserve(alloc, "b", vm.Size{}, shrunk)
	require.Error(t, err)
}

func TestReserveRefusesSizesBelowZero(t *testing.T) {
	_, err := scheduler.Reserve(vm.Allocations{}, "a", vm.Size{VCPUs: -1}, vm.Size{VCPUs: 1})
	require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err))
}

func TestReleaseOfNothingLeavesAnEmptyLedger(t *testing.T) {
	alloc := scheduler.Release(vm.Allocations{Schema: vm.Schema, ID: "h1", Name: "h1", Sum: vm.Size{VCPUs: 7}}, "a")
	text, err := json.Marshal(alloc)
	require.NoError(t, err)
	require.JSONEq(t, `{"schema":1,"id":"h1","name":"h1","instances":{},"sum":{"vcpus":0,"memory_mib":0,"disk_gib":0}}`, string(text))
}
