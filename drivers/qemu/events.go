package qemu

import (
	"context"
	"sync"

	"leasehold/drivers"
)

// backlog is how many events a receiver may leave unread before it loses some.
const backlog = 64

// hub sends events to every receiver and waits for none.
type hub struct {
	mu        sync.Mutex
	receivers map[*receiver]struct{}
	closed    bool
}

type receiver struct {
	events chan drivers.Event
	lost   bool
	stop   func() bool
}

// subscribe returns a channel that is closed when ctx ends, or the hub is closed.
func (h *hub) subscribe(ctx context.Context) <-chan drivers.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &receiver{events: make(chan drivers.Event, backlog)}
	if h.closed {
		close(r.events)
		return r.events
	}
	if h.receivers == nil {
		h.receivers = map[*receiver]struct{}{}
	}
	h.receivers[r] = struct{}{}
	r.stop = context.AfterFunc(ctx, func() { h.remove(r) })
	return r.events
}

func (h *hub) remove(r *receiver) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, there := h.receivers[r]; there {
		delete(h.receivers, r)
		close(r.events)
	}
}

// send gives e to every receiver that has room. One that has none gets Lost with the next event that fits.
func (h *hub) send(e drivers.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.receivers {
		e.Lost = r.lost
		select {
		case r.events <- e:
			r.lost = false
		default:
			r.lost = true
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for r := range h.receivers {
		r.stop()
		close(r.events)
	}
	clear(h.receivers)
}
