package agent_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	computev1 "leasehold/api/compute/v1"
	"leasehold/vm"
)

func TestALifeOfSteps(t *testing.T) {
	h := newHost(t)
	for i, step := range []struct {
		do    func(*computev1.RunRequest)
		power string
	}{
		{creating(), "running"},
		{pausing, "paused"},
		{unpausing, "running"},
		{rebooting, "running"},
		{stopping(0), "shutdown"},
		{func(*computev1.RunRequest) {}, "running"},
	} {
		result := h.done(command(100, int64(i+1), step.do))
		require.Equal(t, step.power, result.GetObservation().GetPowerState())
		require.True(t, result.GetObservation().GetExists())
		require.EqualValues(t, epoch, result.GetObservation().GetHostEpoch())
		require.EqualValues(t, 100, result.GetObservation().GetFence().GetRevision())
	}
	result := h.done(command(100, 7, deleting))
	require.False(t, result.GetObservation().GetExists())
	require.True(t, result.GetObservation().GetTombstone())
}

func TestTheSameStepAgainGetsTheSameAnswer(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 1, creating()))
	require.Equal(t, []string{"prepare", "start"}, h.hyp.made())

	failing := command(100, 2, pausing, byTask(task))
	h.done(command(100, 2, stopping(0)))
	h.refused(vm.ReasonKeyReused, failing)

	result, err := h.run(command(100, 3, pausing)) // a machine that is off cannot pause
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	again, err := h.run(command(100, 3, pausing))
	require.NoError(t, err)
	require.Equal(t, result.GetMessage(), again.GetMessage())
	require.Equal(t, result.GetReason(), again.GetReason())
	require.Equal(t, []string{"prepare", "start", "stop", "pause"}, h.hyp.made())

	h.kill()
	again, err = h.run(command(100, 3, pausing))
	require.NoError(t, err)
	require.Equal(t, result.GetMessage(), again.GetMessage())
	require.Equal(t, []string{"prepare", "start", "stop", "pause"}, h.hyp.made(), "nor does a successor do it again")
}

func TestASecondCallJoinsTheFirst(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("driver:before:start")
	first := h.runBeside(command(100, 1, creating("sim.latency.disk", "1ms")))
	await(t, "the start", at.reached)

	reports := make(chan string, 100)
	second := beside(func() (*computev1.StepResult, error) {
		return h.follow(t.Context(), command(100, 1, creating("sim.latency.disk", "1ms")), func(p *computev1.StepProgress) { reports <- p.GetPhase() })
	})
	await(t, "what the first call was told already", reports)
	h.points.let("driver:before:start")
	for _, call := range []<-chan answer[*computev1.StepResult]{first, second} {
		a := await(t, "the result", call)
		require.NoError(t, a.err)
		require.Equal(t, "done", a.value.GetOutcome())
	}
	require.Equal(t, []string{"prepare", "start"}, h.hyp.made())
}

func TestAnOlderSequenceIsRefusedAlsoWhenItsRecordIsGone(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, stopping(0)))
	h.refused(vm.ReasonStaleFence, command(100, 1, creating()))
	for i := int64(3); i < 60; i++ {
		h.done(command(100, i, stopping(0)))
	}
	made := len(h.hyp.made())
	h.refused(vm.ReasonStaleFence, command(100, 1, creating()))
	h.refused(vm.ReasonStaleFence, command(100, 58, stopping(0)))
	h.kill()
	h.refused(vm.ReasonStaleFence, command(100, 1, creating()))
	require.Len(t, h.hyp.made(), made)
	require.Equal(t, "shutdown", h.observe(machine).GetPowerState())
}

func TestALateStepFindsItsSuccessorUnderTheMutex(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("driver:after:prepare")
	late := h.runBeside(command(100, 1, creating()))
	await(t, "the end of prepare", at.reached)
	begun := h.points.hold("journal:after:begin")
	undo := h.runBeside(command(100, 2, clearing))
	await(t, "the undo's begin", begun.reached)
	h.points.let("journal:after:begin")
	h.points.let("driver:after:prepare")

	a := await(t, "the late step", late)
	require.NoError(t, a.err)
	require.Equal(t, "interrupted", a.value.GetOutcome())
	require.Equal(t, "stale_fence", a.value.GetReason())
	b := await(t, "the undo", undo)
	require.NoError(t, b.err)
	require.Equal(t, "done", b.value.GetOutcome())
	require.Equal(t, []string{"prepare", "destroy"}, h.hyp.made())
}

func TestAStepTheAgentDiedInAnswersInterrupted(t *testing.T) {
	for _, point := range []string{"journal:after:begin", "driver:before:prepare", "driver:after:prepare", "driver:before:start", "driver:after:start", "journal:before:end"} {
		t.Run(point, func(t *testing.T) {
			h := newHost(t)
			at := h.points.hold(point)
			h.runBeside(command(100, 1, creating()))
			await(t, point, at.reached)
			h.kill()
			result, err := h.run(command(100, 1, creating()))
			require.NoError(t, err)
			require.Equal(t, "interrupted", result.GetOutcome())
			require.Equal(t, "interrupted", result.GetReason())
			h.done(command(100, 2, creating()))
			require.Equal(t, "running", h.observe(machine).GetPowerState())
		})
	}
}

func TestAStepThatWasNeverBegunIsDoneByTheSuccessor(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("journal:before:sync")
	h.runBeside(command(100, 1, creating()))
	await(t, "the sync", at.reached)
	h.kill()
	h.done(command(100, 1, creating()))
}

func TestTheLastCallerWhoLeavesCancelsTheWork(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating("sim.hang.pause", "true")))
	at, ended := h.points.hold("driver:before:pause"), h.points.hold("journal:after:end")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first := beside(func() (*computev1.StepResult, error) { return h.follow(ctx, command(100, 2, pausing), nil) })
	await(t, "the pause", at.reached)
	h.points.let("driver:before:pause")
	leave()
	await(t, "the first caller", first)
	await(t, "the step's end", ended.reached)
	h.points.let("journal:after:end")

	result, err := h.run(command(100, 2, pausing))
	require.NoError(t, err)
	require.Equal(t, "interrupted", result.GetOutcome())
	require.Equal(t, "interrupted", result.GetReason())
	require.Contains(t, result.GetMessage(), "cancelled by caller")
	require.Equal(t, "running", h.observe(machine).GetPowerState())
}

func TestWorkGoesOnWhileOneCallerIsLeft(t *testing.T) {
	h := newHost(t)
	at := h.points.hold("driver:before:start")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first := beside(func() (*computev1.StepResult, error) {
		return h.follow(ctx, command(100, 1, creating("sim.latency.disk", "1ms")), nil)
	})
	await(t, "the start", at.reached)
	reports := make(chan string, 100)
	second := beside(func() (*computev1.StepResult, error) {
		return h.follow(t.Context(), command(100, 1, creating("sim.latency.disk", "1ms")), func(p *computev1.StepProgress) { reports <- p.GetPhase() })
	})
	await(t, "a report to the second caller", reports)
	leave()
	await(t, "the first caller", first)
	h.points.let("driver:before:start")
	a := await(t, "the second caller", second)
	require.NoError(t, a.err)
	require.Equal(t, "done", a.value.GetOutcome())
}

// A first try hangs in the hypervisor, deaf to its context. Its conductor has given up and tries again.
func TestATryAfterOneThatHangsGetsPastIt(t *testing.T) {
	for name, c := range map[string]struct {
		call string
		try  func(*computev1.RunRequest)
		how  string
	}{
		"stop":    {"stop", stopping(0), "interrupt"},
		"destroy": {"destroy", clearing, "interrupt"},
		"delete":  {"destroy", deleting, "kill"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.done(command(100, 1, creating()))
			hung := h.hyp.hang(c.call, true)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			first := beside(func() (*computev1.StepResult, error) { return h.follow(ctx, command(100, 2, c.try), nil) })
			await(t, "the hang", hung.entered)
			leave()
			require.Error(t, await(t, "the first caller", first).err)
			h.done(command(100, 3, c.try))
			require.Equal(t, []string{c.how}, h.hyp.interrupted())
			require.Equal(t, []string{"prepare", "start", c.call, c.call}, h.hyp.made())
		})
	}
}

func TestATryThatCannotGetPastOneThatHangsSaysWhatItWaitsFor(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	hung := h.hyp.hang("stop", false)
	h.runBeside(command(100, 2, stopping(0)))
	await(t, "the hang", hung.entered)
	begun, ended := h.points.hold("journal:after:begin"), h.points.hold("journal:after:end")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	second := beside(func() (*computev1.StepResult, error) { return h.follow(ctx, command(100, 3, deleting), nil) })
	await(t, "the second step's begin", begun.reached)
	h.points.let("journal:after:begin")
	leave()
	require.Error(t, await(t, "the second caller", second).err)
	await(t, "the second step's end", ended.reached)
	h.points.let("journal:after:end")
	result, err := h.run(command(100, 3, deleting))
	require.NoError(t, err)
	require.Equal(t, "interrupted", result.GetOutcome())
	require.Contains(t, result.GetMessage(), `step "power-off"`)
	require.Contains(t, result.GetMessage(), "driver call stop")
	require.Equal(t, []string{"prepare", "start", "stop"}, h.hyp.made())
}

func TestACancelledCreateDoesNotStart(t *testing.T) {
	h := newHost(t)
	h.hyp.set(func(y *hypervisor) { y.lingers = true })
	at, ended := h.points.hold("driver:before:prepare"), h.points.hold("journal:after:end")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	caller := beside(func() (*computev1.StepResult, error) { return h.follow(ctx, command(100, 1, creating()), nil) })
	await(t, "the prepare", at.reached)
	h.points.let("driver:before:prepare")
	leave()
	require.Error(t, await(t, "the caller", caller).err)
	await(t, "the step's end", ended.reached)
	require.Equal(t, []string{"prepare"}, h.hyp.made())
	require.Equal(t, "shutdown", h.observe(machine).GetPowerState())
}

func TestDriverErrorsAreClassified(t *testing.T) {
	h := newHost(t)
	result, err := h.run(command(100, 1))
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	require.Equal(t, "not_found", result.GetReason(), result.GetMessage())

	result, err = h.run(command(100, 2, creating(), func(r *computev1.RunRequest) { r.GetCreate().Spec.Image.Url = "gopher://x" }))
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	require.Equal(t, "invalid_argument", result.GetReason(), result.GetMessage())

	result, err = h.run(command(100, 3, creating("sim.fail.spawn", "1")))
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	require.Equal(t, "driver", result.GetReason(), result.GetMessage())
	require.True(t, result.GetObservation().GetExists(), "its disk was made")
}

func TestADeletedInstanceNeverComesBack(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(200, 1, byTask(other), deleting))
	check := func() {
		t.Helper()
		h.refused(vm.ReasonStateForbids, command(300, 1, creating()))
		h.refused(vm.ReasonStateForbids, command(400, 1))
		h.done(command(500, 1, byTask(other), deleting)) // a delete again is harmless
		require.False(t, h.observe(machine).GetExists())
	}
	check()
	h.kill()
	h.refused(vm.ReasonStateForbids, command(600, 1, creating()))
	require.True(t, h.observe(machine).GetTombstone())
}

func TestACreateThatWaitedForTheDeleteIsRefusedUnderTheMutex(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	at := h.points.hold("driver:after:destroy")
	gone := h.runBeside(command(200, 1, byTask(other), deleting))
	await(t, "the destroy", at.reached)
	begun := h.points.hold("journal:after:begin")
	late := h.runBeside(command(300, 1, creating()))
	await(t, "the late create's begin", begun.reached)
	h.points.let("journal:after:begin")
	h.points.let("driver:after:destroy")
	a := await(t, "the delete", gone)
	require.NoError(t, a.err)
	require.Equal(t, "done", a.value.GetOutcome(), "it was done, though a newer command had come")
	b := await(t, "the create", late)
	require.NoError(t, b.err)
	require.Equal(t, "failed", b.value.GetOutcome())
	require.Equal(t, "state_forbids", b.value.GetReason())
	require.False(t, h.observe(machine).GetExists())
}

func TestADestroyWithoutTombstoneLetsTheInstanceBeMadeAgain(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, clearing))
	h.done(command(100, 3, creating()))
}

func TestCommandsThatCannotBeOrderedAreRefused(t *testing.T) {
	h := newHost(t)
	for name, spoil := range map[string]func(*computev1.RunRequest){
		"no fence":         func(r *computev1.RunRequest) { r.Fence = nil },
		"no task":          func(r *computev1.RunRequest) { r.TaskId = "" },
		"no instance":      func(r *computev1.RunRequest) { r.InstanceId = "" },
		"sequence 0":       func(r *computev1.RunRequest) { r.Sequence = 0 },
		"path as id":       func(r *computev1.RunRequest) { r.InstanceId = "../../etc" },
		"unknown kind":     with("planet", "mars"),
		"resource no id":   with("volume", ""),
		"spec of another":  func(r *computev1.RunRequest) { r.GetCreate().Spec.Id = "another" },
		"endless resource": with("volume", string(make([]byte, 1000))),
	} {
		t.Run(name, func(t *testing.T) {
			req := command(100, 1, creating())
			spoil(req)
			_, err := h.run(req)
			requireReason(t, vm.ReasonInvalidArgument, err)
		})
	}
	_, err := h.run(command(100, 1, func(r *computev1.RunRequest) { r.Action = nil }))
	requireReason(t, vm.ReasonUnsupported, err)
	require.Empty(t, h.hyp.made())
}

func TestReportsAreThinnedOutButTheLastIsNeverLost(t *testing.T) {
	h := newHost(t)
	h.hyp.set(func(y *hypervisor) { y.chatter = 10_000 })
	var reports []int64
	result, err := h.follow(t.Context(), command(100, 1, creating()), func(p *computev1.StepProgress) {
		reports = append(reports, p.GetDone())
	})
	require.NoError(t, err)
	require.Equal(t, "done", result.GetOutcome())
	require.EqualValues(t, 10_000, reports[len(reports)-1])
	require.IsIncreasing(t, reports)
	require.Less(t, len(reports), 1000)
}
