package conductor

import (
	"sync"

	"leasehold/coord"
	"leasehold/vm"
)

// watchers wake those who wait for a task to change, without anybody asking etcd. Only tasks that somebody waits for now
// are in it.
type watchers struct {
	mu    sync.Mutex
	tasks map[vm.TaskID]*watched
}

type watched struct {
	changed chan struct{} // closed, and replaced, with each change
	by      int
}

// watching is one who waits for a task to change.
type watching struct {
	all *watchers
	id  vm.TaskID
}

func newWatchers() *watchers { return &watchers{tasks: map[vm.TaskID]*watched{}} }

// watch has somebody woken for a task's changes until he leaves.
func (w *watchers) watch(id vm.TaskID) watching {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.tasks[id]
	if !ok {
		t = &watched{changed: make(chan struct{})}
		w.tasks[id] = t
	}
	t.by++
	return watching{w, id}
}

// next returns a channel that is closed when the task changes. Take it before looking at the task.
func (x watching) next() <-chan struct{} {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	return x.all.tasks[x.id].changed
}

// leave ends what watch began. It is called once, and next not after it.
func (x watching) leave() {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	t := x.all.tasks[x.id]
	if t.by--; t.by == 0 {
		delete(x.all.tasks, x.id)
	}
}

// poke wakes who waits for the task.
func (w *watchers) poke(id vm.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.tasks[id]; ok {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

func (w *watchers) changed(changes []coord.Change) {
	for _, ch := range changes {
		if ch.Table == coord.Tasks || ch.Table == coord.Claims || ch.Table == coord.Cancels {
			w.poke(vm.TaskID(ch.Rest))
		}
	}
}
