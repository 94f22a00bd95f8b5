package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"leasehold/agent"
	"leasehold/drivers"
	"leasehold/internal/crashpoint"
	"leasehold/internal/daemon"
	"leasehold/internal/version"
	"leasehold/vm"
)

// serve is the settings of the hosts in this process.
type serve struct {
	hosts      string
	conductors []string
	listen     string
	dataDir    string
	choice     choice
	log        daemon.Log
}

// flags are those of every command that works on hosts.
func (s *serve) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.dataDir, "data-dir", "", "where each host keeps its machines and its memory, below its name (required)")
	s.choice.flags(f)
	s.log.Flags(f)
	daemon.Require(cmd, "data-dir")
}

func serveCommand() *cobra.Command {
	var s serve
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run machines on this host",
		Long: `serve registers with a conductor and runs machines. Told to stop, it stops serving and leaves the machines running; the
next one finds them again. A host whose data directory is lost is a new one to the conductors.`,
		Example: `  compute serve --host h1 --conductors 127.0.0.1:7001,127.0.0.1:7002 --data-dir /var/lib/leasehold/compute
  compute serve --host h1..h50 --driver sim --sim-latency spawn=2s --listen 127.0.0.1:9001 --data-dir /tmp/hosts`,
		Args: cobra.NoArgs,
		RunE: daemon.Body(s.run),
	}
	f := cmd.Flags()
	f.StringSliceVar(&s.conductors, "conductors", []string{"127.0.0.1:7001"}, "gRPC addresses of conductors, separated by commas")
	f.StringVar(&s.listen, "listen", "127.0.0.1:9001", "where conductors connect; the port counts up with the hosts, 0 is a free one")
	f.StringVar(&s.hosts, "host", "", "name of this host, or h1..h50 for many in this process (required)")
	daemon.Require(cmd, "host")
	s.flags(cmd)
	return cmd
}

func (s *serve) run(ctx context.Context) error {
	hosts, err := hostRange(s.hosts)
	if err != nil {
		return err
	}
	log, err := s.log.New("compute", os.Stderr)
	if err != nil {
		return err
	}
	log.Info("starting; no certificates, so on loopback only", "version", version.Version(), "hosts", s.hosts,
		"conductors", s.conductors, "data_dir", s.dataDir)
	group, ctx := errgroup.WithContext(ctx)
	for n, host := range hosts {
		group.Go(func() error {
			if err := s.host(ctx, host, n, log.Named(string(host))); err != nil {
				return fmt.Errorf("cannot go on as host %s: %w", host, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	log.Info("stopped; machines run on")
	return nil
}

// host is the nth of them, until ctx ends.
func (s *serve) host(ctx context.Context, host vm.HostName, n int, log hclog.Logger) (err error) {
	address, err := nth(s.listen, n)
	if err != nil {
		return err
	}
	home, err := s.enter(ctx, host, log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, home.leave()) }()
	listener, err := daemon.Listen(ctx, "listen", address)
	if err != nil {
		return err
	}
	a, err := agent.New(ctx, agent.Config{
		Host: host, DataDir: filepath.Join(home.dir, "agent"), Driver: home.driver, Log: log, Listener: listener,
		Conductors: s.conductors, Point: crashpoint.Hook(),
	})
	if err != nil {
		return unlessStopped(ctx, errors.Join(err, listener.Close()))
	}
	log.Info("serving", "address", listener.Addr())
	return errors.Join(a.Run(ctx), a.Close())
}

// unlessStopped is nil when a start failed because it was called off.
func unlessStopped(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// home is a host's directory with its driver, which nobody else has open.
type home struct {
	dir     string
	driver  drivers.Driver
	release func() error
}

// enter locks the host's directory before the driver touches anything in it.
func (s *serve) enter(ctx context.Context, host vm.HostName, log hclog.Logger) (*home, error) {
	dir := filepath.Join(s.dataDir, string(host))
	release, err := daemon.Lock(dir)
	if err != nil {
		return nil, err
	}
	driver, err := s.choice.take(ctx, host, dir, log)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &home{dir: dir, driver: driver, release: release}, nil
}

func (h *home) leave() error { return errors.Join(h.driver.Close(), h.release()) }
