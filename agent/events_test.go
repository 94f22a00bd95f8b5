package agent_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

// events opens the stream; its observations come through the channel until the test ends.
func (h *host) events() <-chan *computev1.Observation {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	stream, err := h.client.Events(ctx, &computev1.EventsRequest{})
	require.NoError(h.t, err)
	seen, ended := make(chan *computev1.Observation, 1000), make(chan struct{})
	go func() {
		defer close(ended)
		receive(stream, seen)
	}()
	h.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return seen
}

func receive(stream grpc.ServerStreamingClient[computev1.Observation], seen chan<- *computev1.Observation) {
	for {
		obs, err := stream.Recv()
		if err != nil {
			return
		}
		seen <- obs
	}
}

// awaitSeen waits for the observation that is meant. The same machine may be told more than once.
func awaitSeen(t *testing.T, what string, seen <-chan *computev1.Observation, meant func(*computev1.Observation) bool) *computev1.Observation {
	t.Helper()
	for {
		if obs := await(t, what, seen); meant(obs) {
			return obs
		}
	}
}

func TestEventsBeginWithEveryMachineAndGoOnWithChanges(t *testing.T) {
	h := newHost(t)
	const second = "0192f0a0-0000-7000-8000-000000000002"
	h.done(command(100, 1, creating()))
	h.done(command(110, 1, byTask(other), creating(), on(second)))
	seen := h.events()
	at := map[string]int64{}
	for len(at) < 2 {
		obs := await(t, "a machine", seen)
		require.Equal(t, "running", obs.GetPowerState())
		at[obs.GetInstanceId()] = obs.GetSequence()
	}

	require.NoError(t, h.hyp.GuestCrash(machine))
	obs := awaitSeen(t, "the crash", seen, func(o *computev1.Observation) bool { return o.GetPowerState() == "crashed" })
	require.Equal(t, machine, obs.GetInstanceId())
	require.EqualValues(t, 100, obs.GetFence().GetRevision())
	require.EqualValues(t, epoch, obs.GetHostEpoch())
	require.Greater(t, obs.GetSequence(), at[machine])
}

func TestLostEventsAreMadeUpFor(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	before := h.observe(machine).GetSequence()
	h.hyp.lost <- drivers.Event{Lost: true}
	awaitSeen(t, "the machine again", seen, func(o *computev1.Observation) bool { return o.GetSequence() > before })
}

// What happened while the agent was down is told under the host's epoch, or conductors take it for older than what they know.
func TestEventsWaitForTheRegistration(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	require.NoError(t, h.stop())
	require.NoError(t, h.hyp.GuestCrash(machine))
	h.conductor.set(func(c *conductor) { c.failing = vm.Refuse(vm.ReasonStoreUnavailable, "no quorum") })
	h.boot()
	seen := h.events()
	require.Zero(t, h.observe(machine).GetHostEpoch())
	h.conductor.set(func(c *conductor) { c.failing = nil })
	obs := await(t, "the crash", seen)
	require.Equal(t, "crashed", obs.GetPowerState())
	require.EqualValues(t, epoch, obs.GetHostEpoch())
}

func TestAnAgentThatStopsBeforeItsRegistrationEndsItsStreams(t *testing.T) {
	h := &host{t: t, dir: t.TempDir(), hyp: newHypervisor(t), conductor: newConductor(t), points: newPoints(t)}
	h.cfg = agent.Config{Host: "h1", Driver: h.hyp, Conductors: []string{h.conductor.address}, BootID: "boot-1"}
	h.conductor.set(func(c *conductor) { c.failing = vm.Refuse(vm.ReasonStoreUnavailable, "no quorum") })
	h.boot()
	stream, err := h.client.Events(t.Context(), &computev1.EventsRequest{})
	require.NoError(t, err)
	require.NoError(t, h.stop())
	_, err = stream.Recv()
	require.Error(t, err)
}

func TestEveryMachineIsToldAgainAfterEachRegistration(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.ttl = 300 * time.Millisecond })
	h.start()
	seen := h.events()
	await(t, "the machine", seen)

	h.conductor.set(func(c *conductor) { c.lease = 0 })
	h.conductor.next(t, "activate")
	before := h.observe(machine).GetSequence()
	h.conductor.set(func(c *conductor) { c.lease = 0 })
	h.conductor.next(t, "activate")
	obs := awaitSeen(t, "the machine, same epoch", seen, func(o *computev1.Observation) bool { return o.GetSequence() > before })
	require.EqualValues(t, epoch, obs.GetHostEpoch())

	h.conductor.set(func(c *conductor) { c.lease, c.epoch = 0, c.epoch+10 })
	awaitSeen(t, "the machine, new epoch", seen, func(o *computev1.Observation) bool { return o.GetHostEpoch() > epoch })
}

func TestAStreamForgetsMachinesThatAreGone(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	require.Equal(t, 1, h.agent.Remembered())
	h.done(command(100, 2, deleting))
	h.hyp.lost <- drivers.Event{ID: machine}
	awaitSeen(t, "its end", seen, func(o *computev1.Observation) bool { return !o.GetExists() })
	require.Zero(t, h.agent.Remembered())
}

// resynced has every machine told again all the time.
func resynced(c *agent.Config) { c.Resync = 10 * time.Millisecond }

func TestALostEventIsMadeGoodByTheNextLook(t *testing.T) {
	h := newHost(t, resynced)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	h.hyp.set(func(y *hypervisor) { y.silent[machine] = "it hangs" }) // and no event says so
	awaitSeen(t, "the hang", seen, func(o *computev1.Observation) bool { return o.GetPowerState() == "nostate" })
	h.hyp.set(func(y *hypervisor) { delete(y.silent, machine) })
	awaitSeen(t, "its end", seen, func(o *computev1.Observation) bool { return o.GetPowerState() == "running" })
}

// A machine that is gone is in no list and makes no event.
func TestAMachineThatIsGoneIsToldOfAsGone(t *testing.T) {
	h := newHost(t, resynced)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	h.done(command(100, 2, deleting))
	obs := awaitSeen(t, "its end", seen, func(o *computev1.Observation) bool { return !o.GetExists() })
	require.True(t, obs.GetTombstone())
	require.Zero(t, h.agent.Remembered())
}

func TestTellingEverythingAgainCostsOneList(t *testing.T) {
	h := newHost(t)
	const second = "0192f0a0-0000-7000-8000-000000000002"
	h.done(command(100, 1, creating()))
	h.done(command(110, 1, byTask(other), creating(), on(second)))
	require.NoError(t, h.stop())
	resynced(&h.cfg)
	h.start()
	seen := h.events()
	var last int64
	told := map[int64]int{} // by sequence, which each look has one of
	for range 20 {
		obs := await(t, "a machine", seen)
		told[obs.GetSequence()]++
		last = max(last, obs.GetSequence())
	}
	delete(told, last) // may be half told
	h.hyp.set(func(y *hypervisor) { require.GreaterOrEqual(t, y.lists, len(told)) })
	for sequence, machines := range told {
		require.LessOrEqual(t, machines, 2, sequence)
	}
	require.GreaterOrEqual(t, len(told), 9)
}

func TestAMachineThatDoesNotAnswerAnyMoreIsTold(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	// Whoever asked it now would hear that it runs: the driver has asked, and is not asked again.
	h.hyp.lost <- drivers.Event{ID: machine, PowerState: vm.PowerNoState, Detail: "no answer for 2s"}
	obs := awaitSeen(t, "the silence", seen, func(o *computev1.Observation) bool { return o.GetPowerState() == "nostate" })
	require.Equal(t, "no answer for 2s", obs.GetDetail())
	require.True(t, obs.GetExists())
	require.False(t, obs.GetUnknown(), "it is known, and silent")
	h.hyp.lost <- drivers.Event{ID: machine, PowerState: vm.PowerRunning}
	awaitSeen(t, "its voice", seen, func(o *computev1.Observation) bool { return o.GetPowerState() == "running" })
}

func TestALookThatGetsNoAnswerSaysSoAndNothingElse(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	h.hyp.set(func(y *hypervisor) { y.blind = errors.New("the monitor is gone") })
	h.hyp.lost <- drivers.Event{ID: machine, PowerState: vm.PowerShutdown}
	told := awaitSeen(t, "the silence", seen, func(o *computev1.Observation) bool { return o.GetPowerState() == "nostate" })
	for _, obs := range []*computev1.Observation{told, h.observe(machine)} {
		require.Equal(t, "nostate", obs.GetPowerState())
		require.Contains(t, obs.GetDetail(), "the monitor is gone")
		require.True(t, obs.GetExists(), "it is never said to be gone")
	}
	_, err := h.fence(raising(200))
	requireReason(t, vm.ReasonStoreUnavailable, err) // whoever goes by the truth has to have it
}

func TestSequencesOfObservationsGrowOverRestarts(t *testing.T) {
	h := newHost(t)
	first := h.observe(machine).GetSequence()
	second := h.observe(machine).GetSequence()
	require.Greater(t, second, first)
	h.kill()
	require.Greater(t, h.observe(machine).GetSequence(), second, "the epoch is the same, so it cannot tell them apart")
}

func TestAnAgentThatStopsEndsItsStreams(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	stream, err := h.client.Events(t.Context(), &computev1.EventsRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	line := h.console(machine)
	require.NoError(t, h.stop())
	for err = nil; err == nil; {
		_, err = stream.Recv()
	}
	for err = nil; err == nil; {
		_, err = line.Recv()
	}
}

func TestListAndStatsCountMachines(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, stopping(0)))
	list, err := h.client.List(t.Context(), &computev1.ListRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetMachines(), 1)
	require.Equal(t, "shutdown", list.GetMachines()[0].GetPowerState())
	stats := h.stats()
	require.EqualValues(t, 1, stats.GetMachines())
	require.Zero(t, stats.GetRunning())
	require.EqualValues(t, 2, stats.GetSteps())
	require.Positive(t, stats.GetSyncs())
}

type consoleClient = grpc.BidiStreamingClient[computev1.ConsoleInput, computev1.ConsoleOutput]

func (h *host) console(id vm.InstanceID) consoleClient {
	h.t.Helper()
	line, err := h.client.Console(h.t.Context())
	require.NoError(h.t, err)
	require.NoError(h.t, line.Send(&computev1.ConsoleInput{InstanceId: string(id)}))
	return line
}

func TestTheConsoleJoinsTheSerialLine(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	line := h.console(machine)
	out, err := line.Recv()
	require.NoError(t, err)
	require.NotEmpty(t, out.GetData())
	require.NoError(t, line.Send(&computev1.ConsoleInput{Data: []byte("hostname\n")}))
	out, err = line.Recv()
	require.NoError(t, err)
	require.NotEmpty(t, out.GetData())
	require.NoError(t, line.CloseSend())

	h.done(command(100, 2, stopping(0)))
	for err = nil; err == nil; {
		_, err = line.Recv()
	}
	require.ErrorIs(t, err, io.EOF, "the line ends with its machine")
}

func TestAConsoleWithoutAMachineIsRefused(t *testing.T) {
	h := newHost(t)
	_, err := h.console(machine).Recv()
	require.ErrorContains(t, err, "no such machine")
	_, err = h.console("../x").Recv()
	require.ErrorContains(t, err, "not an id")
}
