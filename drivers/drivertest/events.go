package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func shutdownIsAnEvent(h *host) {
	id := h.started()
	h.started() // a second machine, about which there is nothing to say
	events := h.d.Events(h.t.Context())
	h.GuestShutdown(h.t, h.d, id)
	h.tells(events, id, vm.PowerShutdown)
	h.becomes(id, vm.PowerShutdown)
}

func crashIsAnEvent(h *host) {
	id := h.started()
	events := h.d.Events(h.t.Context())
	h.GuestCrash(h.t, h.d, id)
	h.tells(events, id, vm.PowerCrashed)
	h.becomes(id, vm.PowerCrashed)
}

// tells waits for the event. Others may come first: how a machine got so far is the driver's to tell.
func (h *host) tells(events <-chan drivers.Event, id vm.InstanceID, want vm.PowerState) {
	h.t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case e, open := <-events:
			require.True(h.t, open, "the events have ended")
			require.Equal(h.t, id, e.ID)
			if e.PowerState == want {
				require.WithinDuration(h.t, time.Now(), e.At, Patience)
				return
			}
		case <-deadline:
			require.FailNow(h.t, "no event says "+string(want))
		}
	}
}

func eventsEndWithContext(h *host) {
	ctx, cancel := context.WithCancel(h.t.Context())
	first, second := h.d.Events(ctx), h.d.Events(h.t.Context())
	cancel()
	h.drains(first)
	select {
	case _, open := <-second:
		require.True(h.t, open, "another receiver's events have ended too")
	default:
	}
	require.NoError(h.t, h.d.Close())
	h.d = h.New(h.t, h.dir)
}

// drains waits until the channel is closed.
func (h *host) drains(events <-chan drivers.Event) {
	h.t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case _, open := <-events:
			if !open {
				return
			}
		case <-deadline:
			require.FailNow(h.t, "the events do not end with their context")
		}
	}
}

// unreadReceiver lets more happen than anybody listens to.
func unreadReceiver(h *host) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	unread := h.d.Events(ctx)
	id := h.started()
	for range 3 {
		h.GuestShutdown(h.t, h.d, id)
		h.becomes(id, vm.PowerShutdown)
		require.NoError(h.t, h.once(start(id)))
		h.wants(id, vm.PowerRunning)
		h.ready(id)
	}
	require.NoError(h.t, h.once(destroy(id)))
	h.gone(id)
	cancel()
	h.drains(unread)
}
