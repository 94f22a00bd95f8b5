package agent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	computev1 "leasehold/api/compute/v1"
	"leasehold/internal/sealed"
	"leasehold/vm"
)

const password = "correct-horse-battery"

// seal seals the password as a conductor does for that task, to the key that the host registered with.
func (h *host) seal(task vm.TaskID) []byte {
	h.t.Helper()
	secret, err := sealed.Seal(h.conductor.registered(h.t).GetPublicKey(), sealed.ForTask(machine, task), []byte(password))
	require.NoError(h.t, err)
	return secret
}

// verb is an action beyond create, start and stop.
type verb struct {
	name    string
	before  []func(*computev1.RunRequest) // what makes it possible, after the create
	do      func(*computev1.RunRequest)
	call    string
	power   string // after it
	revives bool
}

func (h *host) verbs() []verb {
	type steps = []func(*computev1.RunRequest)
	return []verb{
		{"suspend", nil, suspending, "suspend", "suspended", false},
		{"resume", steps{suspending}, resuming, "resume", "running", true},
		{"rescue", nil, rescuing, "rescue", "running", true},
		{"unrescue", steps{rescuing}, unrescuing, "unrescue", "running", true},
		{"rebuild", nil, rebuilding, "rebuild", "shutdown", true},
		{"snapshot", nil, copying, "snapshot", "running", false},
		{"export", steps{copying}, exporting, "export", "running", false},
		{"drop", steps{copying}, dropping, "drop", "running", false},
		{"set_password", nil, settingPassword(h.seal(task)), "password", "running", false},
	}
}

// eachVerb runs story with a machine on which the verb is possible, and the sequence that it has then.
func eachVerb(t *testing.T, story func(h *host, v verb, sequence int64)) {
	t.Helper()
	shared := newHost(t)
	for i, v := range shared.verbs() {
		t.Run(v.name, func(t *testing.T) {
			h := newHost(t)
			v = h.verbs()[i] // sealed to its own key
			h.done(command(100, 1, creating()))
			for n, before := range v.before {
				h.done(command(100, int64(2+n), before))
			}
			story(h, v, int64(2+len(v.before)))
		})
	}
}

func TestEachVerbIsDoneOnceAndAnswersTheSame(t *testing.T) {
	eachVerb(t, func(h *host, v verb, sequence int64) {
		first := h.done(command(100, sequence, v.do))
		require.Equal(h.t, v.power, first.GetObservation().GetPowerState())
		made := h.hyp.made()
		require.Equal(h.t, v.call, made[len(made)-1])

		same := func() {
			t.Helper()
			again := h.done(command(100, sequence, v.do))
			require.Equal(h.t, first.GetImage().String(), again.GetImage().String())
			require.Equal(h.t, made, h.hyp.made())
		}
		same()
		h.kill()
		same()
		h.refused(vm.ReasonKeyReused, command(100, sequence, pausing))
		h.refused(vm.ReasonStaleFence, command(99, 1, v.do))
	})
}

func TestEachVerbTheAgentDiedInAnswersInterruptedAndCanBeDoneAgain(t *testing.T) {
	eachVerb(t, func(h *host, v verb, sequence int64) {
		at := h.points.hold("driver:after:" + v.call)
		h.runBeside(command(100, sequence, v.do))
		await(h.t, "the call", at.reached)
		h.kill()
		result, err := h.run(command(100, sequence, v.do))
		require.NoError(h.t, err)
		require.Equal(h.t, "interrupted", result.GetOutcome())
		require.Equal(h.t, "interrupted", result.GetReason())
		require.Nil(h.t, result.GetImage())
		again := h.done(command(100, sequence+1, v.do))
		require.Equal(h.t, v.power, again.GetObservation().GetPowerState())
	})
}

func TestEachVerbIsRefusedOnArrivalWhenItsFenceIsStale(t *testing.T) {
	eachVerb(t, func(h *host, v verb, sequence int64) {
		made := h.hyp.made()
		h.fenced(raising(200))
		h.refused(vm.ReasonStaleFence, command(100, sequence, v.do))
		require.Equal(h.t, made, h.hyp.made())
	})
}

func TestEachVerbIsStoppedUnderTheMutexWhenItsFenceIsStale(t *testing.T) {
	eachVerb(t, func(h *host, v verb, sequence int64) {
		made := h.hyp.made()
		begun := h.points.hold("journal:after:begin")
		late := h.runBeside(command(100, sequence, v.do))
		await(h.t, "its begin", begun.reached)
		raised := h.points.hold("journal:after:fence")
		fence := h.fenceBeside(raising(200))
		await(h.t, "the fence on disk", raised.reached)
		h.points.let("journal:after:fence")
		h.points.let("journal:after:begin")
		require.NoError(h.t, await(h.t, "the fence", fence).err)
		a := await(h.t, "the late step", late)
		require.NoError(h.t, a.err)
		require.Equal(h.t, "interrupted", a.value.GetOutcome())
		require.Equal(h.t, "stale_fence", a.value.GetReason())
		require.Equal(h.t, made, h.hyp.made())
	})
}

// What brings a deleted machine back is refused; what cannot is left to the driver, which finds nothing.
func TestNoVerbRevivesADeletedInstance(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(200, 1, byTask(other), deleting))
	made := h.hyp.made()
	reviving := []func(*computev1.RunRequest){creating(), func(*computev1.RunRequest) {}, rebooting, unpausing}
	for _, v := range h.verbs() {
		if v.revives {
			reviving = append(reviving, v.do)
		}
	}
	check := func() {
		t.Helper()
		for i, revive := range reviving {
			h.refused(vm.ReasonStateForbids, command(int64(300+i), 1, revive))
		}
		require.Equal(t, made, h.hyp.made())
	}
	check()
	h.kill()
	check()
	for i, v := range h.verbs() {
		if v.revives {
			continue
		}
		result, err := h.run(command(int64(400+i), 1, v.do))
		require.NoError(t, err, v.name)
		if v.name != "drop" {
			require.Equal(t, "not_found", result.GetReason(), v.name)
		}
	}
	require.False(t, h.observe(machine).GetExists())
}

func TestAVerbThatTheDriverLacksIsUnsupported(t *testing.T) {
	h := newHost(t)
	require.NoError(t, h.stop())
	h.cfg.Driver = plain{h.hyp}
	h.start()
	h.done(command(100, 1, creating()))
	for i, v := range h.verbs() {
		result, err := h.run(command(100, int64(2+i), v.do))
		require.NoError(t, err)
		if v.name == "drop" { // there are no images: so it is also when a snapshot that was refused is undone
			require.Equal(t, "done", result.GetOutcome())
			continue
		}
		require.Equal(t, "failed", result.GetOutcome(), v.name)
		require.Equal(t, "unsupported", result.GetReason(), v.name)
		require.False(t, result.GetRetryable(), v.name)
	}
	h.done(command(200, 1, deleting, withImages(image)))
	_, err := h.client.DropImages(t.Context(), &computev1.DropImagesRequest{ImageIds: []string{image}})
	require.NoError(t, err)
	_, err = h.usage(machine)
	requireReason(t, vm.ReasonUnsupported, err)
	_, err = h.read(t.Context(), image, 0)
	requireReason(t, vm.ReasonUnsupported, err)
}

func TestSuspendedMemoryIsResumedOnce(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, suspending))
	require.Equal(t, "suspended", h.observe(machine).GetPowerState())
	h.restart()
	require.Equal(t, "suspended", h.observe(machine).GetPowerState())
	h.done(command(100, 3, resuming))
	h.done(command(100, 4, stopping(0)))
	result, err := h.run(command(100, 5, resuming))
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	require.Equal(t, "state_forbids", result.GetReason(), "no memory is saved any more")
}

func TestAnObservationTellsTheRescueDisk(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	require.Equal(t, rescuer, h.done(command(100, 2, rescuing)).GetObservation().GetRescue())
	h.done(command(100, 3, stopping(0)))
	require.Equal(t, rescuer, h.observe(machine).GetRescue())
	require.Equal(t, rescuer, h.fenced(raising(200)).GetRescue())
	list, err := h.client.List(t.Context(), &computev1.ListRequest{})
	require.NoError(t, err)
	require.Equal(t, rescuer, list.GetMachines()[0].GetRescue())
	require.Empty(t, h.done(command(200, 1, unrescuing)).GetObservation().GetRescue())
}

func TestASpecOfAnotherIsNoRebuild(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	req := command(100, 2, rebuilding)
	req.GetRebuild().Spec.Id = "another"
	h.refused(vm.ReasonInvalidArgument, req)
	h.done(command(100, 2, rebuilding))
}

// A conductor that asks again may know another address by then.
func TestWhereAnImageIsDoesNotMakeAnotherStep(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	at := func(address string, do func(*computev1.RunRequest)) func(*computev1.RunRequest) {
		return func(r *computev1.RunRequest) {
			do(r)
			for _, source := range []*computev1.ImageSource{r.GetRebuild().GetSpec().GetImage(), r.GetRescue().GetImage()} {
				if source != nil {
					source.Address = address
				}
			}
		}
	}
	h.done(command(100, 2, at("127.0.0.1:1", rebuilding)))
	h.done(command(100, 2, at("127.0.0.1:2", rebuilding)))
	h.done(command(100, 3, at("127.0.0.1:1", rescuing)))
	h.done(command(100, 3, at("", rescuing)))
	require.Equal(t, []string{"prepare", "start", "rebuild", "rescue"}, h.hyp.made())
	h.refused(vm.ReasonKeyReused, command(100, 3, rescuing, func(r *computev1.RunRequest) { r.GetRescue().Image.Id = image }))
}

func (h *host) usage(id vm.InstanceID) ([]*computev1.VCPUUsage, error) {
	resp, err := h.client.Usage(h.t.Context(), &computev1.UsageRequest{InstanceId: string(id)})
	return resp.GetVcpus(), fromStatus(err)
}

func TestUsageTellsOfEachVCPU(t *testing.T) {
	h := newHost(t)
	_, err := h.usage(machine)
	requireReason(t, vm.ReasonNotFound, err)
	_, err = h.usage("../x")
	requireReason(t, vm.ReasonInvalidArgument, err)
	h.done(command(100, 1, creating()))
	used, err := h.usage(machine)
	require.NoError(t, err)
	require.Len(t, used, 2)
	require.Equal(t, "3s", used[0].GetRun().AsDuration().String())
	require.Equal(t, "20ms", used[0].GetWait().AsDuration().String())

	hung := h.hyp.hang("stop", true)
	stop := h.runBeside(command(100, 2, stopping(0)))
	await(t, "the stop", hung.entered)
	used, err = h.usage(machine)
	require.NoError(t, err, "no step hides it")
	require.Len(t, used, 2)
	h.hyp.releaseAll()
	require.NoError(t, await(t, "its end", stop).err)
	used, err = h.usage(machine)
	require.NoError(t, err)
	require.Empty(t, used)
}
