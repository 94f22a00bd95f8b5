package agent

import (
	"context"
	"sync"

	"leasehold/vm"
)

// mutexes is one mutex per instance, there while somebody wants it. Unlike sync.Mutex, waiting ends with a context.
type mutexes struct {
	mu   sync.Mutex
	held map[vm.InstanceID]*mutex
}

type mutex struct {
	slot  chan struct{} // full while locked
	users int           // holder and waiters
}

// lock waits for the mutex of id, or until ctx ends: then it returns the context's cause. unlock must be called once.
func (m *mutexes) lock(ctx context.Context, id vm.InstanceID) (unlock func(), err error) {
	x := m.join(id)
	select {
	case x.slot <- struct{}{}:
		return func() {
			<-x.slot
			m.leave(id, x)
		}, nil
	case <-ctx.Done():
		m.leave(id, x)
		return nil, context.Cause(ctx)
	}
}

func (m *mutexes) join(id vm.InstanceID) *mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.held[id]
	if x == nil {
		if m.held == nil {
			m.held = map[vm.InstanceID]*mutex{}
		}
		x = &mutex{slot: make(chan struct{}, 1)}
		m.held[id] = x
	}
	x.users++
	return x
}

func (m *mutexes) leave(id vm.InstanceID, x *mutex) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x.users--; x.users == 0 {
		delete(m.held, id)
	}
}
