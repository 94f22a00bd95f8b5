package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed says that the connection has ended: the hypervisor is gone, or has ended it, or Close was called. What became
// of a command under way is not known.
var ErrClosed = errors.New("the monitor is closed")

// Error is the hypervisor's refusal of a command.
type Error struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return fmt.Sprintf("cannot %s: %s", e.Command, e.Desc) }

// Event is something the hypervisor tells unasked.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

const (
	// writeLimit is how long the hypervisor may leave a full socket unread. A command is far smaller than the socket's
	// buffer, so only a hypervisor that has not read for many commands comes near it.
	writeLimit = 2 * time.Second
	// lineLimit bounds a message; the largest known answers (schema, block graphs) are below 1 MiB.
	lineLimit = 16 << 20
)

// Client is one connection to a monitor. Its methods may be called from many goroutines.
type Client struct {
	conn    net.Conn
	sink    func(Event)
	greeted chan struct{}
	done    chan struct{}
	writing chan struct{} // holds one token: a mutex that a context can leave

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- message
	err     error
}

type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

type message struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       uint64          `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
	Event
}

// New takes over conn: it waits for the greeting and makes the monitor ready for commands. Every event goes to sink, in
// order, from one goroutine; sink must not block and must not call Close.
func New(ctx context.Context, conn net.Conn, sink func(Event)) (*Client, error) {
	c := &Client{
		conn: conn, sink: sink, waiting: map[uint64]chan<- message{},
		greeted: make(chan struct{}), done: make(chan struct{}), writing: make(chan struct{}, 1),
	}
	go c.read()
	if err := c.greet(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot open the monitor: %w", err)
	}
	return c, nil
}

func (c *Client) greet(ctx context.Context) error {
	select {
	case <-c.greeted:
		return c.Do(ctx, "qmp_capabilities", nil, nil)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.lost()
	}
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection and every command under way, and returns when the sink is called no more.
func (c *Client) Close() error {
	c.end(ErrClosed)
	<-c.done
	return nil
}

// Do executes a command and decodes its answer into result, unless that is nil. It returns an *Error when the
// hypervisor refuses, ErrClosed when the connection has ended, and the context's cause when that ends first: then the
// command may still be executed, but before every later one of this connection.
func (c *Client) Do(ctx context.Context, command string, arguments, result any) error {
	return c.do(ctx, request{Execute: command, Arguments: arguments}, nil, result)
}

// Give is Do for getfd: the open file goes along, and the hypervisor knows its own copy of it by name, on this
// connection and until a command has used it.
func (c *Client) Give(ctx context.Context, file *os.File, name string) error {
	return c.do(ctx, request{Execute: "getfd", Arguments: map[string]string{"fdname": name}}, file, nil)
}

func (c *Client) do(ctx context.Context, r request, file *os.File, result any) error {
	id, answer := c.expect()
	defer c.forget(id)
	command := r.Execute
	r.ID = id
	if err := c.send(ctx, r, file); err != nil {
		return fmt.Errorf("cannot send %s: %w", command, err)
	}
	select {
	case m := <-answer:
		return m.into(command, result)
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for %s: %w", command, context.Cause(ctx))
	case <-c.done:
	}
	select {
	case m := <-answer: // it came right before the end
		return m.into(command, result)
	default:
		return fmt.Errorf("cannot wait for %s: %w", command, c.lost())
	}
}

func (m message) into(command string, result any) error {
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("cannot understand the answer to %s: %w", command, err)
	}
	return nil
}

func (c *Client) expect() (uint64, <-chan message) {
	answer := make(chan message, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.waiting[c.last] = answer
	return c.last, answer
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// send writes one request. A request that is written in part ends the connection, which has lost its meaning then.
func (c *Client) send(ctx context.Context, r request, file *os.File) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode it: %w", err)
	}
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.lost()
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	limit := time.Now().Add(writeLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	if err := c.conn.SetWriteDeadline(limit); err != nil {
		c.end(err)
		return c.lost()
	}
	if err := write(c.conn, append(b, '\n'), file); err != nil {
		c.end(err)
		return c.lost()
	}
	return nil
}

// write sends b, with a copy of file when there is one: it travels with the first byte.
func write(conn net.Conn, b []byte, file *os.File) error {
	if file == nil {
		_, err := conn.Write(b)
		return err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("internal error: files travel over unix sockets only")
	}
	n, _, err := socket.WriteMsgUnix(b, unix.UnixRights(int(file.Fd())), nil)
	if err == nil && n < len(b) {
		_, err = socket.Write(b[n:])
	}
	return err
}

func (c *Client) read() {
	defer close(c.done)
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(make([]byte, 0, 4096), lineLimit)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			c.end(fmt.Errorf("cannot understand the hypervisor: %w", err))
			return
		}
		if err := c.take(m); err != nil {
			c.end(err)
			return
		}
	}
	c.end(lines.Err())
}

func (c *Client) take(m message) error {
	switch {
	case m.Greeting != nil:
		select {
		case <-c.greeted:
			return errors.New("cannot understand a second greeting")
		default:
			close(c.greeted)
		}
	case m.Name != "":
		c.sink(m.Event)
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		if answer := c.waiting[m.ID]; answer != nil {
			delete(c.waiting, m.ID)
			answer <- m
		} else if m.ID == 0 && m.Error != nil { // it could not even read the request's id
			return m.Error
		}
	}
	return nil
}

// end closes the connection and remembers the first cause.
func (c *Client) end(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = ErrClosed
		if err != nil && !errors.Is(err, ErrClosed) {
			c.err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
	c.mu.Unlock()
	c.conn.Close()
}

func (c *Client) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
