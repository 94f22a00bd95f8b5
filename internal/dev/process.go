package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"leasehold/internal/config"
)

// nursery starts processes from one thread. The kernel kills a child when the thread that started it ends (D1), and Go
// ends threads as it likes.
type nursery struct {
	starts chan func()
	done   chan struct{}
}

func newNursery() *nursery {
	n := &nursery{starts: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(n.done)
		runtime.LockOSThread() // for good: the thread ends with this goroutine, which the last child does not outlive
		for start := range n.starts {
			start()
		}
	}()
	return n
}

func (n *nursery) start(cmd *exec.Cmd) error {
	result := make(chan error)
	n.starts <- func() { result <- cmd.Start() }
	return <-result
}

func (n *nursery) close() {
	close(n.starts)
	<-n.done
}

// child is one process of the cluster; a new one each time it is started.
type child struct {
	Process
	argv  []string
	ready string // URL that answers 200 when it is ready

	cmd   *exec.Cmd
	ended chan struct{}
	exit  error // how it ended; valid after ended

	mu    sync.Mutex
	asked bool // to stop
}

// start begins the process, in a group of its own: Ctrl-C is for us alone.
func (c *child) start(n *nursery) error {
	log, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the log of %s: %w", c.Name, err)
	}
	defer log.Close()
	c.cmd = exec.Command(c.argv[0], c.argv[1:]...) //nolint:noctx // it is asked to stop, not killed with a context
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = config.Environ(os.Environ()), log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.start(c.cmd); err != nil {
		return fmt.Errorf("cannot start %s: %w", c.Name, err)
	}
	c.PID = c.cmd.Process.Pid
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		c.exit = c.cmd.Wait()
	}()
	return nil
}

// stop asks the process to end and waits for it, at most for patience. The error says that it did not end as it should.
func (c *child) stop(patience time.Duration) error {
	c.mu.Lock()
	c.asked = true
	c.mu.Unlock()
	if c.over() {
		return nil // by itself, which was reported
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot stop %s: %w", c.Name, err)
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-c.ended:
	case <-deadline.C:
		_ = c.cmd.Process.Kill()
		<-c.ended
		return fmt.Errorf("cannot stop %s cleanly: it was still there after %s and was killed; see %s", c.Name, patience, c.Log)
	}
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGTERM {
		return nil // it had only just begun
	}
	if c.exit != nil {
		return fmt.Errorf("cannot stop %s cleanly: %w; see %s", c.Name, c.exit, c.Log)
	}
	return nil
}

func (c *child) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// stopping says whether the end of the process was asked for.
func (c *child) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// await waits until the process says that it is ready; its end, and what it said last, is an error.
func (c *child) await(ctx context.Context) error {
	return poll(ctx, []*child{c}, fmt.Sprintf("%s to be ready", c.Name), func(ctx context.Context) bool {
		_, err := get(ctx, c.ready)
		return err == nil
	})
}

// lastWords are the last lines of the log, for a person who asks why.
func (c *child) lastWords() string {
	const most = 8
	b, err := os.ReadFile(c.Log)
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	lines = lines[max(0, len(lines)-most):]
	return strings.TrimRight("\n  "+string(bytes.Join(lines, []byte("\n  "))), " \n")
}
