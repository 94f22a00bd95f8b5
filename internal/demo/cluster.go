package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"leasehold/internal/dev"
)

// cluster is a "conductor dev" of our own, on free ports, in a directory of its own.
type cluster struct {
	dir   string
	cmd   *exec.Cmd
	said  bytes.Buffer // valid after ended
	ended chan struct{}
	exit  error
}

// startCluster must be called from the thread of main, whose end is the end of the process: dev is told when it comes.
func startCluster(dir, program string, args ...string) (*cluster, error) {
	c := &cluster{dir: dir, ended: make(chan struct{})}
	c.cmd = exec.Command(program, append([]string{"dev", "--data-dir", dir, "--rm"}, args...)...) //nolint:noctx // stop asks it to end
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the cluster: %w", err)
	}
	go func() {
		defer close(c.ended)
		c.exit = c.cmd.Wait()
	}()
	return c, nil
}

// ready waits until machines can be made.
func (c *cluster) ready(ctx context.Context) (dev.State, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, err := dev.Read(c.dir); err == nil && s.Ready {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return dev.State{}, fmt.Errorf("cannot start the cluster: %v:\n%s", c.exit, c.said.String())
		case <-ctx.Done():
			return dev.State{}, context.Cause(ctx)
		}
	}
}

// stop ends the cluster and everything in it.
func (c *cluster) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		return errors.Join(errors.New("cannot stop the cluster: it was still there after a minute"), c.cmd.Process.Kill())
	}
	if c.exit != nil {
		_, last, _ := strings.Cut(c.said.String(), "\nstopping\n")
		return fmt.Errorf("cannot stop the cluster cleanly: %w:\n%s", c.exit, strings.TrimSpace(last))
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot leave nothing behind: %s is still there", c.dir)
	}
	return nil
}

// logs are the last lines of every log, for whoever asks what went wrong.
func (c *cluster) logs() string {
	var b strings.Builder
	paths, _ := filepath.Glob(filepath.Join(c.dir, "logs", "*.log"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(path), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return b.String()
}
