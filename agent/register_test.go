package agent_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

func verdict(word string, revision int64, tombstone bool) *conductorv1.MachineVerdict {
	return &conductorv1.MachineVerdict{
		InstanceId: machine, Verdict: word, Why: "a test says so",
		FenceGeneration: generation, FenceRevision: revision, Tombstone: tombstone,
	}
}

func (c *conductor) judge(verdicts ...*conductorv1.MachineVerdict) {
	c.set(func(c *conductor) { c.verdicts = verdicts })
}

func TestARegistrationTellsWhoAndWhat(t *testing.T) {
	h := newHost(t)
	const deleted = "0192f0a0-0000-7000-8000-000000000002"
	h.done(command(100, 1, creating()))
	h.done(command(110, 1, byTask(other), creating(), on(deleted)))
	h.done(command(110, 2, byTask(other), deleting, on(deleted)))
	h.left(deleted)
	h.restart()
	req := h.conductor.registered(t)
	require.Equal(t, "h1", req.GetHost())
	require.Equal(t, "boot-1", req.GetBootId())
	require.Equal(t, "sim", req.GetDriver())
	require.EqualValues(t, 64, req.GetVcpus())
	require.NotEmpty(t, req.GetAddress())
	require.Len(t, req.GetMachines(), 2)
	first, second := req.GetMachines()[0], req.GetMachines()[1]
	require.Equal(t, machine, first.GetInstanceId())
	require.Equal(t, "running", first.GetPowerState())
	require.EqualValues(t, 100, first.GetFenceRevision())
	require.False(t, first.GetTombstone())
	require.Equal(t, deleted, second.GetInstanceId())
	require.Equal(t, "shutdown", second.GetPowerState())
	require.EqualValues(t, 110, second.GetFenceRevision())
	require.True(t, second.GetTombstone())
}

// left puts the machine of a deleted instance back on the host, as if its destruction had not been complete.
func (h *host) left(id vm.InstanceID) {
	h.t.Helper()
	spec := drivers.Spec{
		ID: id, Name: "left", Size: vm.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1},
		Image: drivers.Image{ID: "img", Name: "default", URL: "builtin:default", Format: "raw"},
	}
	require.NoError(h.t, h.hyp.Driver.Prepare(h.t.Context(), spec, func(vm.Progress) {}))
}

// A host may have deleted thousands. Told of them all, it had a verdict on each, and two syncs and a driver call for each
// before it was active.
func TestTombstonesOfMachinesThatAreGoneAreNotTold(t *testing.T) {
	h := newHost(t)
	for i := range 20 {
		id := fmt.Sprintf("0192f0a0-0000-7000-8000-0000000001%02d", i)
		h.done(command(int64(100+i), 1, byTask("task-"+id), creating(), on(id)))
		h.done(command(int64(100+i), 2, byTask("task-"+id), deleting, on(id)))
	}
	made := h.hyp.made()
	h.restart()
	require.Empty(t, h.conductor.registered(t).GetMachines())
	require.Equal(t, made, h.hyp.made())
	require.EqualValues(t, 2, h.stats().GetSyncs(), "the process and the epoch")
}

func TestAMachineThatIsLeftOfADeletedInstanceIsDestroyed(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, deleting))
	h.left(machine)
	require.True(t, h.observe(machine).GetExists())
	h.restart()
	require.False(t, h.observe(machine).GetExists())
	require.Equal(t, []string{"prepare", "start", "destroy", "destroy"}, h.hyp.made())
}

func TestAVerdictOnWhatIsGoneForGoodCostsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		revision int64 // of the verdict; the tombstone has 100
		calls    int
	}{
		"an older verdict": {99, 0}, "the same fence": {100, 0}, "a newer verdict": {150, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.done(command(100, 1, creating()))
			h.done(command(100, 2, deleting))
			made := len(h.hyp.made())
			h.conductor.judge(verdict("destroy", c.revision, true))
			h.restart()
			require.Len(t, h.hyp.made(), made+c.calls)
			require.EqualValues(t, 2+2*c.calls, h.stats().GetSyncs())
			require.False(t, h.observe(machine).GetUnknown())
			h.refused(vm.ReasonStaleFence, command(c.revision-1, 1, stopping(0)))
			h.refused(vm.ReasonStateForbids, command(200, 1, creating()))
		})
	}
}

func TestTheLeaseIsKeptWhileVerdictsAreCarriedOut(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.conductor.judge(verdict("destroy", 150, true))
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.ttl = 300 * time.Millisecond })
	at := h.points.hold("driver:before:destroy")
	h.boot()
	await(t, "the destruction", at.reached)
	var lease int64
	h.conductor.set(func(c *conductor) { lease, c.lease = c.lease, 0 })
	h.conductor.next(t, "refused registering heartbeat") // which ends nothing
	h.conductor.set(func(c *conductor) { c.lease = lease })
	h.conductor.next(t, "registering heartbeat")
	h.conductor.set(func(c *conductor) { c.failing = vm.Refuse(vm.ReasonStoreUnavailable, "no quorum") })
	h.conductor.next(t, "failed heartbeat")
	h.conductor.set(func(c *conductor) { c.failing = nil })
	h.conductor.next(t, "registering heartbeat")
	h.conductor.set(func(c *conductor) { require.False(t, c.active) })
	h.points.let("driver:before:destroy")
	h.conductor.next(t, "activate")
	h.conductor.next(t, "heartbeat")
	h.conductor.set(func(c *conductor) { require.Len(t, c.register, 2, "nobody had to register again") })
}

func TestNoCommandIsTakenBeforeTheRegistration(t *testing.T) {
	h := &host{t: t, dir: t.TempDir(), hyp: newHypervisor(t), conductor: newConductor(t), points: newPoints(t)}
	h.cfg = agent.Config{Host: "h1", Driver: h.hyp, Conductors: []string{h.conductor.address}, BootID: "boot-1"}
	h.conductor.set(func(c *conductor) { c.failing = vm.Refuse(vm.ReasonStoreUnavailable, "no quorum") })
	h.boot()
	_, err := h.run(command(100, 1, creating()))
	requireReason(t, vm.ReasonStoreUnavailable, err)
	_, err = h.fence(raising(100))
	requireReason(t, vm.ReasonStoreUnavailable, err)
	require.Zero(t, h.observe(machine).GetHostEpoch(), "looking is always allowed")
	h.conductor.set(func(c *conductor) { c.failing = nil })
	h.conductor.next(t, "activate")
	h.done(command(100, 1, creating()))
}

func TestADestroyVerdictIsCarriedOutBeforeTheActivation(t *testing.T) {
	for name, deleted := range map[string]bool{"deleted": true, "elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.done(command(100, 1, creating()))
			h.conductor.judge(verdict("destroy", 150, deleted))
			require.NoError(t, h.stop())
			at := h.points.hold("driver:before:destroy")
			h.boot()
			await(t, "the destruction", at.reached)
			h.conductor.next(t, "register")
			h.refused(vm.ReasonStoreUnavailable, command(200, 1, creating()))
			require.Empty(t, h.conductor.calls, "not schedulable yet")
			h.points.let("driver:before:destroy")
			h.conductor.next(t, "activate")

			obs := h.observe(machine)
			require.False(t, obs.GetExists())
			require.Equal(t, deleted, obs.GetTombstone())
			h.conductor.judge()
			h.kill()
			h.refused(vm.ReasonStaleFence, command(149, 1, creating()))
			if deleted {
				h.refused(vm.ReasonStateForbids, command(200, 1, creating()))
			} else {
				h.done(command(200, 1, creating()))
			}
		})
	}
}

func TestAHostWhoseVerdictFailsIsNotActivated(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating("sim.fail.destroy", "1")))
	h.conductor.judge(verdict("destroy", 150, true))
	require.NoError(t, h.stop())
	h.boot()
	h.conductor.next(t, "register")
	h.conductor.next(t, "register") // again, without an activation between
	h.conductor.next(t, "activate")
	require.False(t, h.observe(machine).GetExists())
	require.Equal(t, []string{"prepare", "start", "destroy", "destroy"}, h.hyp.made())
}

func TestAVerdictOlderThanTheFenceDestroysNothing(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.conductor.judge(verdict("destroy", 99, true))
	h.restart()
	obs := h.observe(machine)
	require.Equal(t, "running", obs.GetPowerState())
	require.True(t, obs.GetUnknown(), "but it is shown")
}

func TestQuarantinedMachinesRunOnAndAreShown(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.conductor.judge(verdict("quarantine", 0, false))
	h.restart()
	obs := h.observe(machine)
	require.True(t, obs.GetUnknown())
	require.Equal(t, "running", obs.GetPowerState())
	h.conductor.judge(verdict("keep", 0, false))
	h.restart()
	require.False(t, h.observe(machine).GetUnknown())
}

func TestHeartbeatsGoToWhicheverConductorAnswers(t *testing.T) {
	second := newConductor(t)
	h := newHost(t, func(c *agent.Config) { c.Conductors = append(c.Conductors, second.address) })
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) {
		c.ttl = 300 * time.Millisecond
		// They share a store: what one granted the other renews.
		second.set(func(s *conductor) { s.ttl, s.epoch, s.dataDir, s.active = c.ttl, c.epoch, c.dataDir, true })
	})
	h.start()
	h.conductor.next(t, "heartbeat")
	h.conductor.set(func(c *conductor) { second.set(func(s *conductor) { s.lease, s.known = c.lease, c.known }) })
	h.conductor.set(func(c *conductor) { c.failing = vm.Refuse(vm.ReasonStoreUnavailable, "no quorum") })
	second.next(t, "heartbeat")
	second.set(func(c *conductor) { c.failing = errors.New("a bug") })
	h.conductor.set(func(c *conductor) { c.failing = nil })
	h.conductor.next(t, "heartbeat")
	h.conductor.set(func(c *conductor) { require.Len(t, c.register, 2, "nobody had to register again") })
}

func TestALostLeaseMeansRegisteringAgainAndMachinesRunOn(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.ttl = 300 * time.Millisecond })
	h.start()
	h.conductor.next(t, "heartbeat")
	h.conductor.set(func(c *conductor) { c.lease = 0 })
	h.conductor.next(t, "register")
	h.conductor.next(t, "activate")
	h.conductor.next(t, "heartbeat")
	require.Equal(t, "running", h.observe(machine).GetPowerState())
	h.done(command(100, 2, stopping(0)))
}

// An operator restored the store: its revisions have gone back, its generation has grown.
func TestANewGenerationOfTheStoreIsTakenWhileMachinesRun(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.ttl = 300 * time.Millisecond })
	h.start()
	const second = "0192f0a0-0000-7000-8000-000000000002"
	at := h.points.hold("driver:after:prepare")
	old := h.runBeside(command(110, 1, byTask(other), creating(), on(second)))
	await(t, "the end of prepare", at.reached)
	h.conductor.judge(verdict("keep", 0, false))
	h.conductor.set(func(c *conductor) { c.store = generation + 1 })
	h.conductor.next(t, "refused heartbeat")
	h.conductor.next(t, "activate")
	h.conductor.next(t, "heartbeat")
	h.points.let("driver:after:prepare")
	a := await(t, "the step of the old generation", old)
	require.NoError(t, a.err)
	require.Equal(t, "wrong_epoch", a.value.GetReason())
	require.Equal(t, []string{"prepare", "start", "prepare"}, h.hyp.made())

	told := h.conductor.registered(t)
	require.EqualValues(t, epoch, told.GetEpoch())
	require.EqualValues(t, generation, told.GetMachines()[0].GetFenceGeneration())
	require.Equal(t, "running", h.observe(machine).GetPowerState())
	h.refused(vm.ReasonWrongEpoch, command(200, 1, stopping(0)))
	_, err := h.fence(raising(200))
	requireReason(t, vm.ReasonWrongEpoch, err)
	// Its first fence is above all of the old generation, though its revision is lower.
	obs := h.fenced(raising(5, func(r *computev1.FenceRequest) { r.Fence.Generation++ }))
	require.Equal(t, "running", obs.GetPowerState())
	require.EqualValues(t, generation+1, obs.GetFence().GetGeneration())
	h.done(command(5, 1, stopping(0), func(r *computev1.RunRequest) { r.Fence.Generation++ }))
	h.refused(vm.ReasonWrongEpoch, command(200, 2, stopping(0)))
}

func TestAStepUnderAnOldEpochEndsAtItsNextDriverCall(t *testing.T) {
	h := newHost(t)
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.ttl = 300 * time.Millisecond })
	h.start()
	at := h.points.hold("driver:after:prepare")
	old := h.runBeside(command(100, 1, creating()))
	await(t, "the end of prepare", at.reached)
	h.conductor.set(func(c *conductor) { c.lease, c.epoch = 0, c.epoch+10 })
	h.conductor.next(t, "activate")
	h.points.let("driver:after:prepare")
	a := await(t, "the step", old)
	require.NoError(t, a.err)
	require.Equal(t, "interrupted", a.value.GetOutcome())
	require.Equal(t, "wrong_epoch", a.value.GetReason())
	require.Equal(t, []string{"prepare"}, h.hyp.made())
	require.Greater(t, h.observe(machine).GetHostEpoch(), int64(epoch))
}

func TestAnAgentThatStopsEndsItsSteps(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating("sim.hang.pause", "true")))
	at := h.points.hold("driver:before:pause")
	hung := h.runBeside(command(100, 2, pausing))
	await(t, "the pause", at.reached)
	h.points.let("driver:before:pause")
	require.NoError(t, h.stop())
	a := await(t, "the pause's end", hung)
	require.NoError(t, a.err)
	require.Equal(t, "interrupted", a.value.GetOutcome())
	require.Contains(t, a.value.GetMessage(), "stopping")
	h.start()
	require.Equal(t, "running", h.observe(machine).GetPowerState())
}

func TestEveryCrashPointIsPassed(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, pausing))
	h.done(command(100, 3, unpausing))
	h.done(command(100, 4, rebooting))
	for i, v := range []func(*computev1.RunRequest){
		suspending, resuming, rescuing, unrescuing, copying, exporting, dropping, settingPassword(h.seal(task)), rebuilding,
	} {
		h.done(command(100, int64(5+i), v))
	}
	h.fenced(raising(200))
	hung := h.hyp.hang("stop", true)
	h.runBeside(command(200, 1, stopping(0)))
	await(t, "the hang", hung.entered)
	h.fenced(raising(300))
	h.conductor.judge(verdict("destroy", 300, true))
	h.restart()
	var want []string
	for _, w := range []string{
		"journal:%s:begin", "journal:%s:end", "journal:%s:fence", "journal:%s:epoch", "journal:%s:process",
		"journal:%s:tombstone", "journal:%s:sync", "driver:%s:prepare", "driver:%s:start", "driver:%s:stop", "driver:%s:pause",
		"driver:%s:unpause", "driver:%s:reboot", "driver:%s:suspend", "driver:%s:resume", "driver:%s:rescue", "driver:%s:unrescue",
		"driver:%s:snapshot", "driver:%s:export", "driver:%s:drop", "driver:%s:password", "driver:%s:rebuild",
		"driver:%s:destroy", "driver:%s:interrupt",
	} {
		want = append(want, fmt.Sprintf(w, "before"), fmt.Sprintf(w, "after"))
	}
	require.ElementsMatch(t, want, h.points.passed())
}
