package agent_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/vm"
)

func (h *host) fenceBeside(req *computev1.FenceRequest) <-chan answer[*computev1.Observation] {
	return beside(func() (*computev1.Observation, error) { return h.fence(req) })
}

func killing(r *computev1.FenceRequest) { r.Kill = true }

func TestAStaleRunIsRefusedOnArrivalAndLeavesNoTrace(t *testing.T) {
	h := newHost(t)
	h.fenced(raising(200))
	before := h.stats()
	_, err := h.run(command(100, 1, creating()))
	requireReason(t, vm.ReasonStaleFence, err)
	refusal := new(vm.Refusal)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "3.200", refusal.Facts["fence"], "it says what it was measured against")
	_, err = h.fence(raising(199))
	requireReason(t, vm.ReasonStaleFence, err)

	after := h.stats()
	require.Equal(t, before.GetSyncs(), after.GetSyncs(), "nothing was written")
	require.Equal(t, before.GetRefusedFences()+2, after.GetRefusedFences())
	require.Empty(t, h.hyp.made())
	h.done(command(200, 1, creating()))
}

func TestEachResourceAndEachTaskHasItsOwnFence(t *testing.T) {
	h := newHost(t)
	const second = "0192f0a0-0000-7000-8000-000000000002"
	h.fenced(raising(200, func(r *computev1.FenceRequest) {
		r.Resources = append(r.Resources, &computev1.ResourceRef{Kind: "volume", Id: "vol"})
	}))
	h.refused(vm.ReasonStaleFence, command(150, 1, byTask(other), creating(), on(second), with("volume", "vol")))
	h.refused(vm.ReasonStaleFence, command(150, 1, byTask(task), creating(), on(second)))
	h.done(command(150, 1, byTask(other), creating(), on(second)))
	require.Equal(t, "running", h.observe(second).GetPowerState())
}

// The interleaving that a comparison on arrival alone gets wrong: the create has passed it and is between its two driver
// calls when it is fenced.
func TestAFenceRaisedBetweenTwoDriverCallsStopsTheSecond(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("driver:after:prepare")
	stale := h.runBeside(command(100, 1, creating()))
	await(t, "the end of prepare", at.reached)
	raised := h.points.hold("journal:after:fence")
	fence := h.fenceBeside(raising(200))
	await(t, "the fence on disk", raised.reached)
	h.points.let("journal:after:fence")
	h.points.let("driver:after:prepare")

	a := await(t, "the fence", fence)
	require.NoError(t, a.err)
	require.Equal(t, "shutdown", a.value.GetPowerState(), "prepared and never started")
	b := await(t, "the stale create", stale)
	require.NoError(t, b.err)
	require.Equal(t, "interrupted", b.value.GetOutcome())
	require.Equal(t, "stale_fence", b.value.GetReason())
	require.Equal(t, []string{"prepare"}, h.hyp.made())
	require.Len(t, a.value.GetJournal(), 1)
	require.Equal(t, "interrupted", a.value.GetJournal()[0].GetOutcome())
}

func TestAStepThatWaitedForTheMutexIsStaleWhenItGetsIt(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("driver:after:prepare")
	h.runBeside(command(100, 1, creating()))
	await(t, "the end of prepare", at.reached)
	begun := h.points.hold("journal:after:begin")
	waiting := h.runBeside(command(150, 1, byTask(other), stopping(0)))
	await(t, "the second step's begin", begun.reached)
	h.points.let("journal:after:begin")
	fence := h.fenceBeside(raising(200))
	b := await(t, "the stale stop", waiting)
	require.NoError(t, b.err)
	require.Equal(t, "stale_fence", b.value.GetReason())
	h.points.let("driver:after:prepare")
	require.NoError(t, await(t, "the fence", fence).err)
	require.Equal(t, []string{"prepare"}, h.hyp.made())
}

func TestANewerRunAlsoEndsOlderWork(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating("sim.hang.pause", "true")))
	at := h.points.hold("driver:before:pause")
	stale := h.runBeside(command(100, 2, pausing))
	await(t, "the pause", at.reached)
	h.points.let("driver:before:pause")
	h.done(command(200, 1, byTask(other), stopping(0)))
	a := await(t, "the pause's end", stale)
	require.NoError(t, a.err)
	require.Equal(t, "stale_fence", a.value.GetReason())
}

func TestFencesOutliveTheAgent(t *testing.T) {
	h := newHost(t)
	h.fenced(raising(200))
	h.kill()
	h.refused(vm.ReasonStaleFence, command(100, 1, creating()))
	require.EqualValues(t, 200, h.observe(machine).GetFence().GetRevision())
	h.done(command(300, 1, creating()))
	h.kill()
	h.refused(vm.ReasonStaleFence, command(200, 1, creating()))
	h.restart()
	h.refused(vm.ReasonStaleFence, command(299, 1, creating()))
}

func TestAFenceIsNotAcknowledgedBeforeItIsOnDisk(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("journal:before:sync")
	first := h.fenceBeside(raising(200))
	await(t, "the sync", at.reached)
	again := h.fenceBeside(raising(200)) // raises nothing, and has to wait all the same
	h.refused(vm.ReasonStaleFence, command(100, 1, creating()))
	select {
	case <-first:
		require.Fail(t, "answered before the sync")
	case <-again:
		require.Fail(t, "answered before the sync")
	default:
	}
	h.points.let("journal:before:sync")
	require.NoError(t, await(t, "the fence", first).err)
	require.NoError(t, await(t, "the second fence", again).err)
}

func TestAFenceReportsTheTruthAndTheJournal(t *testing.T) {
	h := newHost(t)
	require.False(t, h.fenced(raising(90)).GetExists())
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, stopping(0)))
	obs := h.fenced(raising(200))
	require.True(t, obs.GetExists())
	require.Equal(t, "shutdown", obs.GetPowerState())
	require.NotEmpty(t, obs.GetDisks())
	var steps []string
	for _, e := range obs.GetJournal() {
		steps = append(steps, e.GetStep()+" "+e.GetOutcome())
		require.EqualValues(t, 100, e.GetFence().GetRevision())
		require.Equal(t, task, e.GetTaskId())
	}
	require.Equal(t, []string{"spawn done", "power-off done"}, steps)
}

func TestAFenceGetsPastAHungHypervisor(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	hung := h.hyp.hang("stop", true)
	stale := h.runBeside(command(100, 2, stopping(0)))
	await(t, "the hang", hung.entered)
	obs := h.fenced(raising(200))
	require.True(t, obs.GetExists())
	require.Equal(t, "stale_fence", await(t, "the stale stop", stale).value.GetReason())
	require.Equal(t, []string{"interrupt"}, h.hyp.interrupted(), "closing the monitor is enough")
}

func TestADeletesFenceEndsTheHungMachine(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	hung := h.hyp.hang("stop", true)
	h.runBeside(command(100, 2, stopping(0)))
	await(t, "the hang", hung.entered)
	obs := h.fenced(raising(200, killing))
	require.Equal(t, "crashed", obs.GetPowerState())
	require.Equal(t, []string{"kill"}, h.hyp.interrupted())
}

// An interrupt cannot take the mutex, which the hung call has. It must not hit whoever gets the mutex next.
func TestAnInterruptNeverHitsTheNextCall(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	hung := h.hyp.hang("stop", true)
	h.runBeside(command(100, 2, stopping(0)))
	await(t, "the hang", hung.entered)
	interrupt, returned := h.points.hold("driver:before:interrupt"), h.points.hold("driver:after:stop")
	fence := h.fenceBeside(raising(200, killing))
	await(t, "the interrupt", interrupt.reached)
	h.hyp.releaseAll() // the hung call returns by itself at this very moment
	await(t, "the hung call's return", returned.reached)
	begun := h.points.hold("journal:after:begin")
	next := h.runBeside(command(200, 1))
	await(t, "the next step's begin", begun.reached)
	h.points.let("journal:after:begin")
	h.points.let("driver:after:stop")
	h.points.let("driver:before:interrupt")
	require.NoError(t, await(t, "the fence", fence).err)
	require.Equal(t, "done", await(t, "the next step", next).value.GetOutcome())
	require.Equal(t, "running", h.observe(machine).GetPowerState(), "it was not killed")
	order := h.points.inOrder()
	require.Less(t, slices.Index(order, "driver:after:interrupt"), lastIndex(order, "driver:before:start"))
}

func lastIndex(all []string, want string) int {
	for i, got := range slices.Backward(all) {
		if got == want {
			return i
		}
	}
	return -1
}

func TestAFenceWithoutAHangInterruptsNothing(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating("sim.hang.pause", "true")))
	at := h.points.hold("driver:before:pause")
	h.runBeside(command(100, 2, pausing))
	await(t, "the pause", at.reached)
	h.points.let("driver:before:pause")
	h.fenced(raising(200, killing)) // the pause obeys its context
	require.Empty(t, h.hyp.interrupted())
	require.Equal(t, "running", h.observe(machine).GetPowerState())
}

func TestAFenceThatIsNotReachedSaysSo(t *testing.T) {
	h := newHost(t, func(c *agent.Config) { c.FenceLimit = 300 * time.Millisecond })
	h.done(command(100, 1, creating()))
	hung := h.hyp.hang("stop", false)
	h.runBeside(command(100, 2, stopping(0)))
	await(t, "the hang", hung.entered)
	_, err := h.fence(raising(200))
	requireReason(t, vm.ReasonStoreUnavailable, err)
	require.ErrorContains(t, err, "driver call stop")
	h.refused(vm.ReasonStaleFence, command(100, 3, creating())) // the number was raised nevertheless
	h.hyp.releaseAll()
	h.fenced(raising(200))
}

func TestAFenceWaitsForWorkOfItsOwnClaim(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	at := h.points.hold("driver:before:stop")
	own := h.runBeside(command(100, 2, stopping(0)))
	await(t, "the stop", at.reached)
	raised := h.points.hold("journal:after:fence")
	fence := h.fenceBeside(raising(100))
	await(t, "the fence on disk", raised.reached)
	h.points.let("journal:after:fence")
	h.points.let("driver:before:stop")
	require.Equal(t, "done", await(t, "the stop", own).value.GetOutcome())
	a := await(t, "the fence", fence)
	require.NoError(t, a.err)
	require.Equal(t, "shutdown", a.value.GetPowerState())
}

func TestOtherEpochsAndGenerationsAreRefused(t *testing.T) {
	h := newHost(t)
	for _, wrong := range []int64{0, epoch - 1, epoch + 1} {
		h.refused(vm.ReasonWrongEpoch, command(100, 1, creating(), func(r *computev1.RunRequest) { r.HostEpoch = wrong }))
		_, err := h.fence(raising(100, func(r *computev1.FenceRequest) { r.HostEpoch = wrong }))
		requireReason(t, vm.ReasonWrongEpoch, err)
	}
	for _, wrong := range []int64{generation - 1, generation + 1} {
		h.refused(vm.ReasonWrongEpoch, command(100, 1, creating(), func(r *computev1.RunRequest) { r.Fence.Generation = wrong }))
	}
	require.Empty(t, h.hyp.made())
}
