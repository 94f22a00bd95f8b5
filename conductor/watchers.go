package conductor

import (
	"sync"

	"leasehold/coord"
	"leasehold/vm"
)

// watchers wake those who wait for a task to change, without anybody asking etcd.
type watchers struct {
	mu    sync.Mutex
	tasks map[vm.TaskID]chan struct{}
}

func newWatchers() *watchers { return &watchers{tasks: map[vm.TaskID]chan struct{}{}} }

// next returns a channel that is closed when the task changes. Take it before looking at the task.
func (w *watchers) next(id vm.TaskID) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch, ok := w.tasks[id]
	if !ok {
		ch = make(chan struct{})
		w.tasks[id] = ch
	}
	return ch
}

// poke wakes who waits for the task.
func (w *watchers) poke(id vm.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch, ok := w.tasks[id]; ok {
		close(ch)
		delete(w.tasks, id)
	}
}

func (w *watchers) changed(changes []coord.Change) {
	for _, ch := range changes {
		if ch.Table == coord.Tasks || ch.Table == coord.Claims || ch.Table == coord.Cancels {
			w.poke(vm.TaskID(ch.Rest))
		}
	}
}
