package conductor

import (
	"context"
	"time"

	"leasehold/api/conductor/v1"
	"leasehold/vm"
)

const (
	defaultWait = 30 * time.Second
	maxWait     = 10 * time.Minute
)

// GetTask shows one task, open or closed.
func (s *service) GetTask(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Task, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	task, mod, err := s.c.taskOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	return s.c.taskView(task, mod), nil
}

// GetInstanceTask shows one task of an instance.
func (s *service) GetInstanceTask(ctx context.Context, req *conductorv1.GetInstanceTaskRequest) (*conductorv1.Task, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	found, err := s.c.instanceOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	task, mod, err := s.c.taskOf(ctx, who.project, req.GetTask())
	if err != nil {
		return nil, err
	}
	if task.Instance != found.rec.ID {
		return nil, vm.Refuse(vm.ReasonNotFound, "cannot find task %q of instance %s: it is of another one", req.GetTask(), found.rec.ID)
	}
	return s.c.taskView(task, mod), nil
}

// CancelTask asks the task to stop and undo what it did.
func (s *service) CancelTask(ctx context.Context, req *conductorv1.CancelTaskRequest) (*conductorv1.Task, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	task, mod, err := s.c.taskOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	now, err := s.c.Cancel(ctx, task.ID, who.by)
	if err != nil {
		return nil, err
	}
	return s.c.taskView(now, mod), nil
}

// WaitTask answers when the task has ended, or when its time is over with the task as it is then.
func (s *service) WaitTask(ctx context.Context, req *conductorv1.WaitTaskRequest) (*conductorv1.Task, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	timeout := defaultWait
	if t := req.GetTimeout(); t != nil {
		if timeout = t.AsDuration(); !t.IsValid() || timeout < 0 || timeout > maxWait {
			return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot wait %v for a task: from 0s to %v", timeout, maxWait)
		}
	}
	task, _, err := s.c.taskOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	watching := s.c.watchers.watch(task.ID)
	defer watching.leave()
	for {
		changed := watching.next()
		task, mod, err := s.c.findTask(ctx, task.ID)
		if err != nil {
			return nil, err
		}
		if task.Status.Terminal() {
			return s.c.taskView(task, mod), nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return s.c.taskView(task, mod), nil
		case <-ctx.Done():
			return nil, over(ctx)
		}
	}
}

// ListTasks lists the project's tasks, newest first; closed ones too when asked for.
func (s *service) ListTasks(ctx context.Context, req *conductorv1.ListTasksRequest) (*conductorv1.ListTasksResponse, error) {
	if req.GetId() != "" {
		return s.ListInstanceTasks(ctx, req)
	}
	return s.listTasks(ctx, req, "", req.GetClosed())
}

// ListInstanceTasks lists open and closed tasks of an instance, newest first.
func (s *service) ListInstanceTasks(ctx context.Context, req *conductorv1.ListTasksRequest) (*conductorv1.ListTasksResponse, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	found, err := s.c.instanceOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	return s.listTasks(ctx, req, found.rec.ID, true)
}
