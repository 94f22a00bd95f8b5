package qga

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

var (
	// ErrSilent says that nobody answered in time. From New: there is no agent, or it is not up yet.
	ErrSilent = errors.New("the guest's agent does not answer")
	// ErrClosed says that the connection has ended, or was broken by a call that was given up. What became of a command
	// under way is not known.
	ErrClosed = errors.New("the connection to the guest's agent is closed")
)

// Error is the agent's refusal of a command.
type Error struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string {
	return fmt.Sprintf("cannot execute %s in the guest: %s", e.Command, e.Desc)
}

const (
	// answerLimit is how long a command may take: a freeze writes out all that the guest has cached, a password goes
	// through the guest's own tools.
	answerLimit = 20 * time.Second
	// lineLimit bounds an answer, which comes from a stranger: those to our commands are below 1 KiB.
	lineLimit = 1 << 20
	// delimiter ends what was on the line; it is in no UTF-8 text.
	delimiter = 0xFF
)

// Client is one connection to an agent that has answered. Its methods may be called from many goroutines.
type Client struct {
	conn  net.Conn
	token chan struct{} // held by the command under way: a mutex that a context can leave
	lines *bufio.Scanner
	err   error // why it is of no use any more; owned by the holder of token
}

type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
}

// New takes over conn and waits up to patience for the agent to answer the sync; ErrSilent when it does not.
func New(ctx context.Context, conn net.Conn, patience time.Duration) (*Client, error) {
	c := &Client{conn: conn, token: make(chan struct{}, 1), lines: bufio.NewScanner(conn)}
	c.lines.Buffer(make([]byte, 0, 4096), lineLimit)
	if err := c.sync(ctx, patience); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot reach the guest's agent: %w", err)
	}
	return c, nil
}

// Close ends the connection and the command under way.
func (c *Client) Close() error { return c.conn.Close() }

// sync brings both ends to the same place in the conversation.
func (c *Client) sync(ctx context.Context, patience time.Duration) error {
	id := rand.Int64N(1 << 53) // what every JSON reader keeps exactly
	r := request{Execute: "guest-sync-delimited", Arguments: map[string]int64{"id": id}}
	return c.within(ctx, patience, func() error {
		if err := c.send(r, delimiter); err != nil {
			return err
		}
		for c.lines.Scan() {
			line := c.lines.Bytes()
			at := bytes.LastIndexByte(line, delimiter)
			if at < 0 {
				continue // to an earlier caller, or about what was cut off
			}
			var a struct {
				Return int64 `json:"return"`
			}
			if json.Unmarshal(line[at+1:], &a) == nil && a.Return == id {
				return nil
			}
		}
		return c.ended()
	})
}

// do executes one command and decodes its answer into result, unless that is nil. It returns an *Error when the agent
// refuses, and ErrSilent after answerLimit: then the command may still be executed.
func (c *Client) do(ctx context.Context, command string, arguments, result any) error {
	select {
	case c.token <- struct{}{}:
		defer func() { <-c.token }()
	case <-ctx.Done():
		return fmt.Errorf("cannot begin %s: %w", command, context.Cause(ctx))
	}
	if c.err != nil {
		return fmt.Errorf("cannot begin %s: %w", command, c.err)
	}
	var a answer
	err := c.within(ctx, answerLimit, func() error {
		if err := c.send(request{Execute: command, Arguments: arguments}); err != nil {
			return err
		}
		if !c.lines.Scan() {
			return c.ended()
		}
		return json.Unmarshal(c.lines.Bytes(), &a)
	})
	if err != nil {
		c.err = ErrClosed
		c.conn.Close()
		return fmt.Errorf("cannot wait for %s: %w", command, err)
	}
	if a.Error != nil {
		a.Error.Command = command
		return a.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Return, result); err != nil {
		return fmt.Errorf("cannot understand the answer to %s: %w", command, err)
	}
	return nil
}

// within runs exchange, which ends with an error when limit is over (ErrSilent) or ctx ends (its cause).
func (c *Client) within(ctx context.Context, limit time.Duration, exchange func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, ErrSilent)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) }) // fails only when it has ended
	err := exchange()
	if !stop() && err != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, net.ErrClosed) {
		return ErrClosed
	}
	return err
}

// send writes one request behind prefix.
func (c *Client) send(r request, prefix ...byte) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode %s: %w", r.Execute, err)
	}
	if _, err := c.conn.Write(append(append(prefix, b...), '\n')); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

// ended is why there is no further line.
func (c *Client) ended() error {
	if err := c.lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return ErrClosed
}
