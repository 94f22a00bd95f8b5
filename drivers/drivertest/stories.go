package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// story is a life that must come to the same end however often each call is made, and by whom (I1, I4).
type story struct {
	name string
	tell func(*host)
}

func stories(h Harness, d drivers.Driver) []story {
	all := []story{
		{"a machine starts, stops and ends", startsStopsEnds},
		{"a guest is asked before it is stopped", stopsGracefully},
		{"a machine is made again after its end", madeAgain},
	}
	add := func(can bool, name string, tell func(*host)) {
		if can {
			all = append(all, story{name, tell})
		}
	}
	pauses, snapshots := has[drivers.Pauser](d), has[drivers.Snapshotter](d)
	add(pauses, "a machine pauses and goes on", pausesAndGoesOn)
	add(pauses, "a paused machine is stopped or destroyed", pausedEnds)
	add(has[drivers.Rebooter](d), "a machine reboots", reboots)
	add(h.GuestShutdown != nil, "a guest that shut itself down starts again", shutsItselfDown)
	add(h.GuestCrash != nil, "a crashed machine starts again", crashes)
	add(has[drivers.Suspender](d), "a machine is suspended and resumed", suspendsAndResumes)
	add(has[drivers.Suspender](d), "a suspended machine is stopped or destroyed", suspendedEnds)
	add(has[drivers.Rescuer](d), "a machine is rescued and returns", rescuedAndReturns)
	add(has[drivers.Rescuer](d), "a rescued machine keeps its rescue disk", staysRescued)
	add(has[drivers.Rebuilder](d), "a machine is rebuilt", isRebuilt)
	add(has[drivers.Rebuilder](d) && has[drivers.Rescuer](d), "a rescued machine is rebuilt", isRebuiltWhileRescued)
	add(snapshots, "a machine is made of another's snapshot", madeOfSnapshot)
	add(snapshots, "a snapshot is made in any state", snapshotInAnyState)
	add(has[drivers.Passworder](d) && h.Agent != nil && h.Agent.With != nil, "a guest's password is set", passwordIsSet)
	return all
}

func startsStopsEnds(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.idle(s.ID)
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.must(stop(s.ID, 0))
	h.wants(s.ID, vm.PowerShutdown)
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func stopsGracefully(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.ready(s.ID)
	asked := time.Now()
	h.must(stop(s.ID, h.Grace))
	if h.Ready != nil {
		require.Less(h.t, time.Since(asked), h.Grace, "a guest that obeys is not cut off")
	}
	h.wants(s.ID, vm.PowerShutdown)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func madeAgain(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(destroy(s.ID))
	h.gone(s.ID)
	h.must(prepare(s))
	h.idle(s.ID)
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func pausesAndGoesOn(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.must(pause(s.ID))
	h.wants(s.ID, vm.PowerPaused)
	h.must(unpause(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

// pausedEnds also shows that a guest that cannot hear is cut off when its grace ends, not later.
func pausedEnds(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.must(pause(s.ID))
	h.must(stop(s.ID, 100*time.Millisecond))
	h.wants(s.ID, vm.PowerShutdown)
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.must(pause(s.ID))
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func reboots(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.must(reboot(s.ID, 0))
	h.wants(s.ID, vm.PowerRunning)
	h.ready(s.ID)
	h.must(reboot(s.ID, h.Grace))
	h.wants(s.ID, vm.PowerRunning)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func shutsItselfDown(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	h.ready(s.ID)
	h.GuestShutdown(h.t, h.d, s.ID)
	h.becomes(s.ID, vm.PowerShutdown)
	h.must(stop(s.ID, 0))
	h.wants(s.ID, vm.PowerShutdown)
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}

func crashes(h *host) {
	s := h.Spec(h.t)
	h.must(prepare(s))
	h.must(start(s.ID))
	crash := func() {
		h.ready(s.ID)
		h.GuestCrash(h.t, h.d, s.ID)
		h.becomes(s.ID, vm.PowerCrashed)
		if h.mode.fresh {
			h.restart()
			h.wants(s.ID, vm.PowerCrashed)
		}
	}
	crash()
	h.must(start(s.ID))
	h.wants(s.ID, vm.PowerRunning)
	if has[drivers.Rebooter](h.d) {
		crash()
		h.must(reboot(s.ID, 0))
		h.wants(s.ID, vm.PowerRunning)
	}
	crash()
	h.must(stop(s.ID, 0))
	h.off(s.ID)
	h.must(destroy(s.ID))
	h.gone(s.ID)
}
