package conductor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/coord"
	"leasehold/locks"
	"leasehold/vm"
	"leasehold/workflow"
)

// Cancel asks a task to stop and undo what it did. A task that waits in a queue ends at once; one that is past its point
// of no return is refused with too_late. Cancelling twice is the same as once.
func (c *Conductor) Cancel(ctx context.Context, id vm.TaskID, by string) (*vm.Task, error) {
	for range admitTries {
		kv, err := c.store.Get(ctx, c.keys.Task(id))
		if errors.Is(err, coord.ErrNotFound) {
			if err := c.catchUp(ctx); err != nil { // or the cache would show it open
				return nil, err
			}
			task, _, err := c.findTask(ctx, id)
			if err != nil {
				return nil, err
			}
			if task.EndedAt == nil {
				continue
			}
			return nil, &vm.Refusal{Why: vm.ReasonTooLate, Task: id, Since: *task.EndedAt, Message: fmt.Sprintf(
				"cannot cancel task %s: it %s at %s", id, task.Status, task.EndedAt.Format(time.RFC3339))}
		}
		if err != nil {
			return nil, err
		}
		task := new(vm.Task)
		if err := kv.Decode(task); err != nil {
			return nil, err
		}
		err = c.cancelOpen(ctx, task, kv.Mod, by)
		if _, refused := errors.AsType[*coord.ConflictError](err); refused {
			continue
		}
		return task, err
	}
	return nil, vm.Refuse(vm.ReasonLocked, "cannot cancel task %s: it kept changing; try again", id)
}

func (c *Conductor) cancelOpen(ctx context.Context, task *vm.Task, mod int64, by string) error {
	if task.Status == vm.TaskWaiting {
		return c.cancelWaiting(ctx, task, mod)
	}
	if kind, ok := c.kinds[task.Kind]; ok && workflow.TooLate(kind.Flow, logOf(task.Steps)) {
		return &vm.Refusal{Why: vm.ReasonTooLate, Task: task.ID, Since: task.CreatedAt, Message: fmt.Sprintf(
			"cannot cancel task %s: a %s is past its point of no return at step %q", task.ID, task.Kind,
			task.Steps[len(task.Steps)-1].Name)}
	}
	if _, asked := c.cache.Entry(c.keys.Cancel(task.ID)); asked {
		return nil
	}
	t := &coord.Txn{Name: "cancel"}
	t.If(coord.Present(c.keys.Task(task.ID)), coord.Absent(c.keys.Cancel(task.ID)))
	t.Then(coord.Put(c.keys.Cancel(task.ID), vm.Cancel{Schema: vm.Schema, Task: task.ID, By: by, At: time.Now().UTC()}).Witness())
	_, err := c.store.Commit(ctx, t)
	if conflict, refused := errors.AsType[*coord.ConflictError](err); refused {
		if _, asked := conflict.Now(c.keys.Cancel(task.ID)); asked {
			return nil
		}
	}
	return err
}

// cancelWaiting closes a task that has not begun: nobody drives it, so nobody could.
func (c *Conductor) cancelWaiting(ctx context.Context, task *vm.Task, mod int64) error {
	now := time.Now().UTC()
	task.Status, task.EndedAt, task.UpdatedAt, task.Waiting = vm.TaskCancelled, &now, now, nil
	task.Error = &vm.Fault{Reason: vm.ReasonCancelled, Message: "cancelled while it waited", Task: task.ID, Since: now}
	t := &coord.Txn{Name: "cancel"}
	t.If(coord.Unchanged(c.keys.Task(task.ID), mod), coord.Absent(c.keys.Claim(task.ID)))
	if task.Instance != "" {
		in, err := c.readInstance(ctx, task.Instance)
		if err != nil {
			return err
		}
		if in.rec.Task == task.ID {
			free := in.rec.Clone()
			free.Task, free.TaskState, free.UpdatedAt = "", vm.Idle, now
			t.If(coord.Unchanged(c.keys.Instance(free.ID), in.mod))
			t.Then(coord.Put(c.keys.Instance(free.ID), free))
		}
	}
	t.Then(locks.Dequeue(c.keys, task.Shared, task.ID)...)
	c.closeTask(t, task)
	_, err := c.store.Commit(ctx, t)
	return err
}

// cancelRequested says whether the cache has a cancel request for a task.
func (c *Conductor) cancelRequested(id vm.TaskID) bool {
	_, ok := c.cache.Entry(c.keys.Cancel(id))
	return ok
}
