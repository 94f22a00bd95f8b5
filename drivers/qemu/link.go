package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/qmp"
)

// errOff says that no process of the machine is left to talk to.
var errOff = errors.New("it is off")

// link is a connection to one of a machine's monitors that is made when it is needed.
type link struct {
	dir, name string
	told      func() // called at every event; nil when nobody cares
	token     chan struct{}
	client    *qmp.Client // owned by the holder of token
	closed    context.Context
	close     func()
}

// newLink makes a link that is closed when parent ends, or by close.
func newLink(parent context.Context, dir, name string, told func()) *link {
	l := &link{dir: dir, name: name, told: told, token: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancelCause(parent)
	l.closed = ctx
	l.close = func() {
		cancel(errClosed)
		l.token <- struct{}{} // whoever dials ends soon
		defer func() { <-l.token }()
		l.drop()
	}
	return l
}

// get returns the live connection, made anew if need be. It waits for a hypervisor that does not answer until ctx ends,
// and returns errOff when no process of the machine is left.
func (l *link) get(ctx context.Context) (*qmp.Client, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.closed, func() { cancel(errClosed) })() //nolint:contextcheck // either may end it
	select {
	case l.token <- struct{}{}:
		defer func() { <-l.token }()
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot reach the monitor: %w", context.Cause(ctx))
	}
	if l.client != nil {
		select {
		case <-l.client.Done():
			l.drop()
		default:
			return l.client, nil
		}
	}
	c, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.client = c
	return c, nil
}

// dial tries for as long as a process of the machine lives: the socket is there before the process, and its end shows
// as a refusal a moment before the lock is free.
func (l *link) dial(ctx context.Context) (*qmp.Client, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := folder.Held(l.dir)
		if err != nil {
			return nil, err
		}
		if !held {
			return nil, errOff
		}
		if conn, err := folder.Dial(ctx, l.dir, l.name); err == nil {
			if c, err := qmp.New(ctx, conn, l.event); err == nil {
				return c, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot reach the monitor: %w", context.Cause(ctx))
		}
	}
}

func (l *link) event(qmp.Event) {
	if l.told != nil {
		l.told()
	}
}

func (l *link) drop() {
	if l.client != nil {
		l.client.Close()
		l.client = nil
	}
}

// do executes one command.
func (l *link) do(ctx context.Context, command string, arguments, result any) error {
	c, err := l.get(ctx)
	if err != nil {
		return err
	}
	return c.Do(ctx, command, arguments, result)
}

// give hands over an open file, which is known by name until the next command uses it.
func (l *link) give(ctx context.Context, file *os.File, name string) error {
	c, err := l.get(ctx)
	if err != nil {
		return err
	}
	return c.Give(ctx, file, name)
}

// word asks for QEMU's run state.
func (l *link) word(ctx context.Context) (string, error) {
	var s struct {
		Status string `json:"status"`
	}
	err := l.do(ctx, "query-status", nil, &s)
	return s.Status, err
}
