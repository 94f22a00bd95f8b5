package sim

import (
	"context"
	"sync"

	"leasehold/drivers"
)

// backlog is how many events a receiver may be behind before it loses some.
const backlog = 64

// broadcast sends each event to every receiver and waits for none.
type broadcast struct {
	mu        sync.Mutex
	receivers map[*receiver]struct{} // nil when closed
}

type receiver struct {
	events chan drivers.Event
	lost   bool        // since the last event that was sent
	stop   func() bool // of watching the context
}

func newBroadcast() *broadcast { return &broadcast{receivers: map[*receiver]struct{}{}} }

func (b *broadcast) receiver(ctx context.Context) <-chan drivers.Event {
	r := &receiver{events: make(chan drivers.Event, backlog)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.receivers == nil {
		close(r.events)
		return r.events
	}
	b.receivers[r] = struct{}{}
	r.stop = context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.drop(r)
	})
	return r.events
}

// drop ends a receiver, once. The caller holds mu.
func (b *broadcast) drop(r *receiver) {
	if _, ok := b.receivers[r]; !ok {
		return
	}
	delete(b.receivers, r)
	r.stop()
	close(r.events)
}

func (b *broadcast) send(e drivers.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.receivers {
		e.Lost = r.lost
		select {
		case r.events <- e:
			r.lost = false
		default:
			r.lost = true
		}
	}
}

func (b *broadcast) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.receivers {
		b.drop(r)
	}
	b.receivers = nil
}
