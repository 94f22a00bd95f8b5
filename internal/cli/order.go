package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/cli/exit"
	"leasehold/vm"
)

// order is something that becomes a task, and whether to wait for it.
type order struct {
	requestID string
	wait      bool
	patience  time.Duration
}

func (o *order) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.requestID, "request-id", "", "idempotency key: the same one never orders twice (default: a new one)")
	f.BoolVar(&o.wait, "wait", false, "wait until the task has ended")
	patienceFlag(cmd, &o.patience)
}

func patienceFlag(cmd *cobra.Command, patience *time.Duration) {
	cmd.Flags().DurationVar(patience, "wait-timeout", 0, "wait no longer than this; the task goes on (default: as long as it takes)")
}

// place sends the order and prints what came of it: at once, or when the task has ended.
func (a *app) place(
	ctx context.Context, o order,
	send func(ctx context.Context, c *client.Client, requestID string) (*conductorv1.InstanceTask, error),
) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	key := o.requestID
	if key == "" {
		key = uuid.NewString()
	}
	answer, err := send(ctx, c, key)
	if open(err) {
		return &openError{cause: err, requestID: key}
	}
	if err != nil {
		return err
	}
	if !o.wait {
		return a.print().Order(answer)
	}
	task, err := a.await(ctx, answer.GetTask(), o.patience)
	if err != nil {
		return err
	}
	// The instance as the task left it. A server keeps showing a deleted one only as long as it keeps its history.
	instance, err := c.GetInstance(ctx, &conductorv1.GetRequest{Id: task.GetInstance(), MinRevision: task.GetRevision()})
	if err != nil && vm.ReasonOf(err) != vm.ReasonNotFound {
		return err
	}
	image := answer.GetImage()
	if image != nil { // as the task left it, too; that of a snapshot that failed is gone
		image, err = c.GetImage(ctx, &conductorv1.GetRequest{Id: image.GetId(), MinRevision: task.GetRevision()})
		if err != nil && vm.ReasonOf(err) != vm.ReasonNotFound {
			return err
		}
	}
	after := &conductorv1.InstanceTask{
		Instance: instance, Task: task, Image: image, Revision: max(task.GetRevision(), answer.GetRevision()),
	}
	if err := a.print().Order(after); err != nil {
		return err
	}
	return outcome(task)
}

// open says whether an order may have been taken although its answer is an error: it was lost, or the conductor itself
// does not know what its store did.
func open(err error) bool {
	var unsent *client.ConnectError
	return err != nil && vm.ReasonOf(err) == vm.ReasonStoreUnavailable && !errors.As(err, &unsent)
}

// outcome is nil for a task that succeeded.
func outcome(t *conductorv1.Task) error {
	if t.GetStatus() == string(vm.TaskSucceeded) {
		return nil
	}
	return taskFailed(t)
}

// await follows a task until it has ended, with a progress line where there is a terminal.
func (a *app) await(ctx context.Context, t *conductorv1.Task, patience time.Duration) (*conductorv1.Task, error) {
	if vm.TaskStatus(t.GetStatus()).Terminal() {
		return t, nil
	}
	line := a.startProgress(t)
	defer line.stop()
	return a.follow(ctx, t, patience, line.set)
}

// follow calls each with every change of a task until it has ended. t needs nothing but an id.
func (a *app) follow(
	ctx context.Context, t *conductorv1.Task, patience time.Duration, each func(*conductorv1.Task),
) (*conductorv1.Task, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	waiting := ctx
	if patience > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	last := t
	done, err := c.Follow(waiting, t.GetId(), func(now *conductorv1.Task) {
		last = now
		each(now)
	})
	switch {
	case err == nil:
		return done, nil
	case ctx.Err() != nil:
		return nil, left(last, exit.Interrupted, "interrupted")
	case waiting.Err() != nil:
		return nil, left(last, exit.TimedOut, fmt.Sprintf("not done after %s", patience))
	default:
		return nil, err
	}
}

func left(t *conductorv1.Task, code exit.Code, why string) error {
	r := vm.Refuse(vm.ReasonInterrupted, "%s: the task %s goes on", why, t.GetId())
	r.Task = vm.TaskID(t.GetId())
	return &leftError{Refusal: r, code: code}
}
