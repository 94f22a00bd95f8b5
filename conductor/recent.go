package conductor

import (
	"sync"

	"leasehold/vm"
)

// keepRecent is how many tasks that ended here are remembered: those whose clients still wait, and a little more.
const keepRecent = 4096

// recent remembers the tasks that this conductor closed last, so that whoever waits for one need not ask etcd for what was
// written here a moment ago.
type recent struct {
	mu    sync.Mutex
	tasks map[vm.TaskID]closedTask
	ring  []vm.TaskID
	next  int
}

type closedTask struct {
	task *vm.Task
	mod  int64
}

func newRecent() *recent {
	return &recent{tasks: make(map[vm.TaskID]closedTask, keepRecent), ring: make([]vm.TaskID, keepRecent)}
}

// put remembers a closed task as it was written at revision mod. Nobody changes it any more.
func (r *recent) put(task *vm.Task, mod int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tasks, r.ring[r.next])
	r.ring[r.next] = task.ID
	r.next = (r.next + 1) % len(r.ring)
	r.tasks[task.ID] = closedTask{task, mod}
}

func (r *recent) get(id vm.TaskID) (closedTask, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tasks[id]
	return t, ok
}
