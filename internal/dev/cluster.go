package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"leasehold/internal/config"
	"leasehold/internal/daemon"
)

// Config of a cluster.
type Config struct {
	Conductor string // the programs
	Compute   string
	Dir       string // made when missing
	Temporary bool   // Dir is removed after a clean stop, and the machines in it (D3)

	Conductors int
	Computes   int
	Prefix     string // of the keys in the store
	// The first of the ports that count up; 0 takes free ones. The store takes two.
	EtcdPort, GRPCPort, HTTPPort, ComputePort int

	ConductorArgs []string // further arguments of conductor serve
	ComputeArgs   []string // further arguments of compute serve; those of its driver
	Restart       bool     // a child that died (D2)
	Out           io.Writer
}

const (
	stopPatience = 20 * time.Second // longer than the grace of any child
	restartAfter = time.Second      // a child that cannot live does not keep the machine busy
)

// cluster is the running one.
type cluster struct {
	cfg     Config
	nursery *nursery
	watched sync.WaitGroup
	halt    chan struct{} // closed when nothing is to be started any more

	mu     sync.Mutex
	state  State
	stages [][]*child // in start order
}

// Run starts a cluster, tells on Out how to use it, and stops it when ctx ends. Nil means that everything stopped cleanly.
func Run(ctx context.Context, cfg Config) (err error) {
	release, err := daemon.Lock(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	c := &cluster{cfg: cfg, nursery: newNursery(), halt: make(chan struct{})}
	c.state = State{PID: os.Getpid(), Dir: cfg.Dir, Prefix: cfg.Prefix}
	defer c.nursery.close()
	err = c.start(ctx)
	if err == nil {
		c.guide()
		<-ctx.Done()
		c.say("\nstopping")
	}
	if ctx.Err() != nil {
		err = nil // also when it was told to stop before everything had started
	}
	return errors.Join(err, c.stop(context.WithoutCancel(ctx), err == nil))
}

func (c *cluster) say(format string, args ...any) { fmt.Fprintf(c.cfg.Out, format+"\n", args...) }

// start begins everything, each stage when the one before is ready.
func (c *cluster) start(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("cannot make the directory for logs: %w", err)
	}
	stages, err := c.plan(ctx)
	if err != nil {
		return err
	}
	c.state.Driver = c.driver(ctx)
	for _, stage := range stages {
		c.mu.Lock()
		c.stages = append(c.stages, nil)
		c.mu.Unlock()
		for _, p := range stage {
			if err := c.begin(p, len(c.stages)-1); err != nil {
				return err
			}
		}
		for _, p := range stage {
			if p.ready == "" {
				continue
			}
			if err := p.await(ctx); err != nil {
				return err
			}
		}
	}
	if err := c.awaitHosts(ctx, stages); err != nil {
		return err
	}
	return c.publish(func(s *State) { s.Ready = true })
}

// awaitHosts waits until machines can be placed.
func (c *cluster) awaitHosts(ctx context.Context, stages [][]*child) error {
	computes := stages[len(stages)-1]
	return poll(ctx, computes, fmt.Sprintf("%d hosts to be up", len(computes)), func(ctx context.Context) bool {
		return hostsUp(ctx, stages[1][0].HTTP, computes) >= len(computes)
	})
}

// begin starts one child and watches over it.
func (c *cluster) begin(p *child, stage int) error {
	if err := p.start(c.nursery); err != nil {
		return err
	}
	c.mu.Lock()
	c.stages[stage] = append(c.stages[stage], p)
	c.mu.Unlock()
	c.watched.Go(func() { c.watch(p) })
	return c.publish(func(*State) {})
}

// watch reports a child that ends by itself, and starts it again when that was asked for (D2).
func (c *cluster) watch(p *child) {
	for {
		<-p.ended
		if p.stopping() {
			return
		}
		c.say("%s (pid %d) ended by itself: %s; its log is %s", p.Name, p.PID, exitWord(p.exit), p.Log)
		next, err := c.replace(p)
		if err != nil {
			c.say("%v", err)
		}
		if next == nil {
			return
		}
		p = next
	}
}

// replace starts a child anew after a moment, when that was asked for; nil when it was not.
func (c *cluster) replace(p *child) (*child, error) {
	if !c.cfg.Restart {
		return nil, c.publish(func(*State) { p.PID = 0 })
	}
	moment := time.NewTimer(restartAfter)
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-c.halt:
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.halt:
		return nil, nil
	default:
	}
	next := &child{Process: p.Process, argv: p.argv, ready: p.ready}
	if err := next.start(c.nursery); err != nil {
		return nil, err
	}
	for _, stage := range c.stages {
		if i := slices.Index(stage, p); i >= 0 {
			stage[i] = next
		}
	}
	c.say("started %s again, pid %d", next.Name, next.PID)
	return next, c.write()
}

// publish changes the state and writes it.
func (c *cluster) publish(change func(*State)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
	return c.write()
}

// write is called with mu held.
func (c *cluster) write() error {
	s := &c.state
	s.Conductors, s.Computes = nil, nil
	for i, stage := range c.stages {
		for _, p := range stage {
			switch i {
			case 0:
				s.Etcd = p.Process
			case 1:
				s.Conductors = append(s.Conductors, p.Process)
			default:
				s.Computes = append(s.Computes, p.Process)
			}
		}
	}
	return s.write()
}

// stop ends everything in reverse order. clean says whether all went well so far.
func (c *cluster) stop(ctx context.Context, clean bool) error {
	c.mu.Lock()
	close(c.halt)
	c.mu.Unlock()
	var failures []error
	for _, stage := range slices.Backward(c.stages) {
		errs := make([]error, len(stage))
		var stopped sync.WaitGroup
		for n, p := range stage {
			stopped.Go(func() { errs[n] = p.stop(stopPatience) })
		}
		stopped.Wait()
		failures = append(failures, errs...)
	}
	c.watched.Wait()
	failures = append(failures, c.tidy(ctx, clean && errors.Join(failures...) == nil))
	return errors.Join(failures...)
}

// tidy removes what is temporary (D3). After a failure the logs stay.
func (c *cluster) tidy(ctx context.Context, clean bool) error {
	if !c.cfg.Temporary {
		c.say("stopped; data, and machines that run, are kept: start with --data-dir %s to find them again", c.cfg.Dir)
		return os.Remove(filepath.Join(c.cfg.Dir, File))
	}
	// Also what an earlier run left here: this one may have ended before its first host began.
	if out, err := c.compute(ctx, "purge", "--data-dir", c.home()); err != nil {
		return fmt.Errorf("cannot remove the machines in %s: %w: %s", c.cfg.Dir, err, out)
	}
	if !clean {
		c.say("the logs are kept in %s", filepath.Join(c.cfg.Dir, "logs"))
		return nil
	}
	if err := os.RemoveAll(c.cfg.Dir); err != nil {
		return fmt.Errorf("cannot remove the temporary directory: %w", err)
	}
	c.say("stopped; nothing is left behind")
	return nil
}

func (c *cluster) home() string { return filepath.Join(c.cfg.Dir, "compute") }

// driver is what compute says of the driver of new hosts.
func (c *cluster) driver(ctx context.Context) string {
	out, err := c.compute(ctx, "driver")
	if err != nil {
		return "" // the hosts will say so themselves, in more words
	}
	return out
}

func (c *cluster) compute(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.cfg.Compute, append(args, c.cfg.ComputeArgs...)...)
	cmd.Env = config.Environ(os.Environ())
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
