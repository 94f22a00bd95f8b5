package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"leasehold/internal/daemon"
	"leasehold/internal/dev"
	"leasehold/liveness"
)

// devSettings are those of a cluster on this machine.
type devSettings struct {
	cluster    dev.Config
	driver     string
	sessionTTL time.Duration
	hostTTL    time.Duration
	log        daemon.Log
}

func devCommand() *cobra.Command {
	var s devSettings
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine, for trying and developing",
		Long: `dev starts an etcd, conductors and hosts as child processes, says what to type next, and stops all of them at Ctrl-C.
Without --data-dir everything is gone then, machines included; with one it is found again the next time. Each process
may be killed, stopped and continued to see what the others do; dev.json in the data directory has the pids.`,
		Example: `  conductor dev
  conductor dev --conductors 5 --computes 10 --driver sim --compute-arg=--sim-latency=spawn=2s
  conductor dev --data-dir ~/leasehold --etcd-port 0 --grpc-port 0 --http-port 0 --compute-port 0`,
		Args: cobra.NoArgs,
		RunE: daemon.Body(s.run),
	}
	f, c := cmd.Flags(), &s.cluster
	f.IntVar(&c.Conductors, "conductors", 3, "how many conductors")
	f.IntVar(&c.Computes, "computes", 2, "how many hosts")
	f.StringVar(&s.driver, "driver", "auto", "auto, sim or qemu; auto takes qemu when it is installed")
	f.StringVar(&c.Dir, "data-dir", "", "where everything is kept (default: a temporary directory, removed at the end)")
	f.BoolVar(&c.Temporary, "rm", false, "remove the data directory at the end, machines included")
	f.StringVar(&c.Prefix, "prefix", "/leasehold", "of all keys in the store")
	f.IntVar(&c.EtcdPort, "etcd-port", 2379, "first port of the store; 0 takes free ones, here and below")
	f.IntVar(&c.GRPCPort, "grpc-port", 7001, "first port of the conductors' gRPC")
	f.IntVar(&c.HTTPPort, "http-port", 8001, "first port of the conductors' REST")
	f.IntVar(&c.ComputePort, "compute-port", 9001, "first port of the hosts")
	f.BoolVar(&c.Restart, "restart", false, "start a process that died again")
	f.DurationVar(&s.sessionTTL, "session-ttl", liveness.DefaultTTL, "see: conductor serve --help")
	f.DurationVar(&s.hostTTL, "host-ttl", liveness.HostTTL, "see: conductor serve --help")
	f.StringArrayVar(&c.ConductorArgs, "conductor-arg", nil, "further argument of each conductor serve; may be repeated")
	f.StringArrayVar(&c.ComputeArgs, "compute-arg", nil, "further argument of each compute serve; may be repeated")
	s.log.Flags(f)
	return cmd
}

func (s *devSettings) run(ctx context.Context) error {
	c := s.cluster
	if c.Conductors < 1 || c.Computes < 1 {
		return daemon.Usagef("cannot run %d conductors and %d hosts: at least one of each", c.Conductors, c.Computes)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	c.Conductor, c.Compute, c.Out = self, filepath.Join(filepath.Dir(self), "compute"), os.Stdout
	if _, err := os.Stat(c.Compute); err != nil {
		return fmt.Errorf("cannot run hosts: the program compute belongs beside this one: %w", err)
	}
	if c.Dir == "" {
		c.Temporary = true
		if c.Dir, err = os.MkdirTemp("", "leasehold-dev-"); err != nil {
			return fmt.Errorf("cannot make a temporary directory: %w", err)
		}
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return fmt.Errorf("cannot use the data directory: %w", err)
	}
	c.ConductorArgs = slices.Concat(s.log.Args(),
		[]string{"--session-ttl", s.sessionTTL.String(), "--host-ttl", s.hostTTL.String()}, c.ConductorArgs)
	c.ComputeArgs = slices.Concat(s.log.Args(), []string{"--driver", s.driver}, c.ComputeArgs)
	// Who reads what we say may go away; that must not end us before the children have. Notified and not ignored, because
	// children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return dev.Run(ctx, c)
}
