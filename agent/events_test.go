package agent_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

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

func TestEventsBeginWithEveryMachineAndGoOnWithChanges(t *testing.T) {
	h := newHost(t)
	const second = "0192f0a0-0000-7000-8000-000000000002"
	h.done(command(100, 1, creating()))
	h.done(command(110, 1, byTask(other), creating(), on(second)))
	seen := h.events()
	at := map[string]int64{}
	for range 2 {
		obs := await(t, "a machine", seen)
		require.Equal(t, "running", obs.GetPowerState())
		at[obs.GetInstanceId()] = obs.GetSequence()
	}
	require.Len(t, at, 2)

	require.NoError(t, h.hyp.GuestCrash(machine))
	obs := await(t, "the crash", seen)
	require.Equal(t, machine, obs.GetInstanceId())
	require.Equal(t, "crashed", obs.GetPowerState())
	require.EqualValues(t, 100, obs.GetFence().GetRevision())
	require.EqualValues(t, epoch, obs.GetHostEpoch())
	require.Greater(t, obs.GetSequence(), at[machine])
}

func TestLostEventsAreMadeUpFor(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	seen := h.events()
	await(t, "the machine", seen)
	h.hyp.lost <- drivers.Event{Lost: true}
	require.Equal(t, machine, await(t, "the machine again", seen).GetInstanceId())
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
	_, err = stream.Recv()
	require.Error(t, err)
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
