package conductor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

// errLost: the claim is somebody else's, or the session has ended. Whoever sees it stops and writes nothing.
var errLost = errors.New("the claim is lost")

// errUnreachable: the host's lease lives but this conductor cannot reach its agent; another one may.
var errUnreachable = errors.New("the host cannot be reached from this conductor")

// Why an attempt began; it stands in the task's record.
const (
	whyAdmitted = "admitted" // the conductor that took the request drives it
	whyQueued   = "queued"   // admitted by a conductor that had no room
	whyGranted  = "granted"  // its shared resources became free
	whyTakeover = "takeover" // the one before died, or handed it back
)

// worker drives one task under one claim. Its records are its own copies; they change only in its goroutine.
type worker struct {
	c       *Conductor
	log     hclog.Logger
	kind    tasks.Kind
	session *liveness.Session
	held    locks.Held
	why     string // of this attempt

	work    *tasks.Work
	taskMod int64 // mod revisions of the records as this worker last wrote or read them
	instMod int64
	kept    saved // the records as they are in etcd

	seq      atomic.Int64
	progress atomic.Pointer[vm.Progress]
	hanging  atomic.Pointer[vm.Wait] // while a function of the flow does not return
	saveAt   time.Time               // when progress is next made durable
	saveGap  time.Duration

	ctx       context.Context //nolint:containedctx // a worker is one call: its goroutine, from claim to release
	stop      context.CancelCauseFunc
	cancelled chan struct{}
	once      sync.Once
	done      chan struct{}
}

type saved struct {
	task *vm.Task
	inst *vm.Instance
}

// begin starts to drive a task whose claim this conductor has just written. inst may be nil.
func (c *Conductor) begin(s *liveness.Session, held locks.Held, task *vm.Task, taskMod int64, inst *vm.Instance,
	instMod int64, why string,
) {
	kind, ok := c.kinds[task.Kind]
	w := &worker{
		c: c, kind: kind, session: s, held: held, why: why, taskMod: taskMod, instMod: instMod,
		log:       c.log.Named("worker").With("task", task.ID, "kind", task.Kind, "instance", task.Instance, "fence", held.Fence),
		cancelled: make(chan struct{}), done: make(chan struct{}),
	}
	w.work = &tasks.Work{World: w, Task: task, Instance: inst}
	w.keep()
	w.ctx, w.stop = context.WithCancelCause(s.Context())
	if !c.workers.add(w) {
		w.stop(errLost)
		return
	}
	go func() {
		defer close(w.done)
		defer c.workers.remove(w)
		defer w.stop(nil)
		defer w.recovered()
		if !ok {
			w.log.Error("no such kind of task, leaving it to another conductor")
			w.handBack("this conductor does not know the kind " + string(task.Kind))
			return
		}
		w.drive()
	}()
}

// drive runs the flow to its end, or stops without a word when the claim is lost.
func (w *worker) drive() {
	if err := w.prepare(); err != nil {
		w.leave(err)
		return
	}
	out, err := workflow.Engine[*tasks.Work]{
		Flow:      w.kind.Flow,
		Recorder:  w,
		Guard:     func(context.Context) error { return w.trusted() },
		Fresh:     w.why != whyTakeover,
		Cancelled: w.cancelled,
		Observer:  observer{w.c.metrics.flow(w.kind.Verb), w},
		Reason:    func(err error) string { return string(vm.ReasonOf(err)) },
	}.Run(w.ctx, w.work, logOf(w.work.Task.Steps))
	if err == nil {
		err = w.finish(out)
	}
	w.leave(err)
}

// trusted says whether this worker may still act: its session's window is open. It is asked inline before each effect,
// because a stopped process that continues runs its next line before any timer.
func (w *worker) trusted() error {
	if err := w.session.Trusted(); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// prepare loads what the flow needs, and for a takeover fences the hosts. A4
func (w *worker) prepare() error {
	if err := w.loadImages(); err != nil {
		return err
	}
	if w.c.cancelRequested(w.work.Task.ID) {
		w.cancel()
	}
	if w.why != whyTakeover {
		return nil
	}
	for _, host := range w.toFence() {
		if _, err := w.Fence(w.ctx, host, w.kind.Verb == vm.Delete, func(workflow.Progress) {}); err != nil {
			return err
		}
	}
	return nil
}

// toFence are the hosts that a takeover fences before it looks at anything: all that may hold something of the instance,
// down or not, unless an operator has signed that they are no more, and of those that the task touched and has confirmed clean, the ones that can be asked. There a late command
// finds nothing to act on, so they are not waited for.
func (w *worker) toFence() []vm.HostName {
	var must []vm.HostName
	if in := w.work.Instance; in != nil {
		must = slices.Clone(in.Footprint)
		if in.Host != "" && !slices.Contains(must, in.Host) {
			must = append(must, in.Host)
		}
		must = slices.DeleteFunc(must, func(h vm.HostName) bool { return w.Host(h) == tasks.Removed })
	}
	for _, h := range w.work.Task.Hosts {
		if !slices.Contains(must, h) && w.c.hostAlive(h) {
			must = append(must, h)
		}
	}
	return must
}

// recovered keeps a panic outside of the flow's own functions, where the engine cannot catch it, from ending the process
// and the next one after it: the task is left to another conductor, or another version.
func (w *worker) recovered() {
	if p := recover(); p != nil {
		w.log.Error("internal error: panic while driving a task", "panic", p, "stack", string(debug.Stack()))
		w.c.orphans.avoid(w.work.Task.ID)
		w.handBack(fmt.Sprintf("internal error: panic: %v", p))
	}
}

// cancel tells the flow that a user asked it to stop.
func (w *worker) cancel() { w.once.Do(func() { close(w.cancelled) }) }

// leave ends a turn that did not end the task: silently when the claim is lost, else by handing it back.
func (w *worker) leave(err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, errLost), w.ctx.Err() != nil:
		w.log.Info("stopped driving", "cause", cause(w.ctx, err))
	default:
		w.log.Warn("handing the task back", "error", err)
		w.c.orphans.avoid(w.work.Task.ID)
		w.handBack(err.Error())
	}
}

func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

func (w *worker) keep() {
	w.kept = saved{task: w.work.Task.Clone()}
	if w.work.Instance != nil {
		w.kept.inst = w.work.Instance.Clone()
	}
}

// restore forgets what a step decided and could not record.
func (w *worker) restore() {
	*w.work.Task = *w.kept.task.Clone()
	if w.work.Instance != nil {
		*w.work.Instance = *w.kept.inst.Clone()
	}
	w.work.Promise, w.work.Free, w.work.Unname = "", nil, false
}

// workers are the tasks that this conductor drives now.
type workers struct {
	mu     sync.Mutex
	byTask map[vm.TaskID]*worker
	closed bool
	idle   chan struct{} // closed when the last one has left after close
}

func newWorkers() *workers {
	return &workers{byTask: map[vm.TaskID]*worker{}, idle: make(chan struct{})}
}

func (ws *workers) add(w *worker) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return false
	}
	ws.byTask[w.held.Task] = w
	return true
}

func (ws *workers) remove(w *worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byTask[w.held.Task] == w {
		delete(ws.byTask, w.held.Task)
	}
	if ws.closed && len(ws.byTask) == 0 {
		close(ws.idle)
	}
}

func (ws *workers) get(id vm.TaskID) *worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.byTask[id]
}

// room says whether one more may begin.
func (ws *workers) room(most int) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return !ws.closed && len(ws.byTask) < most
}

func (ws *workers) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.byTask)
}

// close refuses new workers; the channel is closed when the last has left.
func (ws *workers) close() <-chan struct{} {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if !ws.closed {
		ws.closed = true
		if len(ws.byTask) == 0 {
			close(ws.idle)
		}
	}
	return ws.idle
}

func (ws *workers) all() []*worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	out := make([]*worker, 0, len(ws.byTask))
	for _, w := range ws.byTask {
		out = append(out, w)
	}
	return out
}
