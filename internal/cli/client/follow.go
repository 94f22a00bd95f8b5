package client

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// retryPause is between two attempts to find a server that can be followed.
const retryPause = 200 * time.Millisecond

// Follow calls each with the task as it is now and then whenever it has changed, and returns it when it has ended. A
// stream that breaks, or is silent for Config.Silence, is opened again on the next server: a stopped process does not
// break its connections. It gives up, with the last error, after Config.Timeout without a word from anybody, on any
// refusal but store_unavailable, and when ctx ends. each is never called with an older state than before.
func (c *Client) Follow(ctx context.Context, id string, each func(*conductorv1.Task)) (*conductorv1.Task, error) {
	heard := time.Now()
	req := &conductorv1.GetRequest{Id: id}
	for {
		task, err := c.watch(ctx, req, func(t *conductorv1.Task) {
			heard = time.Now()
			if t.GetRevision() < req.GetMinRevision() {
				return
			}
			req.Id, req.MinRevision = t.GetId(), t.GetRevision()
			each(t)
		})
		switch {
		case err == nil:
			return task, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !elsewhere(err) || time.Since(heard) > c.cfg.Timeout:
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

// watch follows one stream until the task has ended or the stream has.
func (c *Client) watch(
	ctx context.Context, req *conductorv1.GetRequest, each func(*conductorv1.Task),
) (*conductorv1.Task, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := &rpc.NoAnswerError{Code: codes.Unavailable, Message: "the conductor fell silent"}
	timer := time.AfterFunc(c.cfg.Silence, func() { cancel(silent) })
	defer timer.Stop()

	st, err := c.WatchTask(ctx, req)
	if err != nil {
		return nil, err
	}
	for {
		task, err := st.Recv()
		switch {
		case errors.Is(context.Cause(ctx), silent):
			c.servers.next()
			return nil, silent
		case errors.Is(err, io.EOF):
			return nil, &rpc.NoAnswerError{Code: codes.Unavailable, Message: "the conductor stopped before the task did"}
		case err != nil:
			return nil, err
		}
		timer.Reset(c.cfg.Silence)
		each(task)
		if vm.TaskStatus(task.GetStatus()).Terminal() {
			return task, nil
		}
	}
}
