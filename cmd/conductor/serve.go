package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"leasehold/conductor"
	"leasehold/internal/crashpoint"
	"leasehold/internal/daemon"
	"leasehold/internal/version"
	"leasehold/liveness"
	"leasehold/vm"
)

// serve is the settings of one replica.
type serve struct {
	name       string
	etcd       []string
	prefix     string
	grpc, http string
	sessionTTL time.Duration
	hostTTL    time.Duration
	maxTasks   int
	grace      time.Duration
	log        daemon.Log
}

func serveCommand() *cobra.Command {
	var s serve
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one replica of the control plane",
		Long: `serve runs one replica. Replicas share nothing but etcd; any of them may be asked anything, and each takes over the
tasks of one that dies. Told to stop, it finishes what it drives within the grace period and hands over the rest.`,
		Example: "  conductor serve --name c1 --etcd http://127.0.0.1:2379 --grpc 127.0.0.1:7001 --http 127.0.0.1:8001",
		Args:    cobra.NoArgs,
		RunE:    daemon.Body(s.run),
	}
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "name of this replica; no two that live have the same (required)")
	f.StringSliceVar(&s.etcd, "etcd", []string{"http://127.0.0.1:2379"}, "URLs of the store, separated by commas")
	f.StringVar(&s.prefix, "prefix", "/leasehold", "of all keys in the store")
	f.StringVar(&s.grpc, "grpc", "127.0.0.1:7001", "where to answer gRPC: vmctl, agents, other conductors")
	f.StringVar(&s.http, "http", "127.0.0.1:8001", "where to answer REST, /metrics, /healthz and /readyz")
	f.DurationVar(&s.sessionTTL, "session-ttl", liveness.DefaultTTL,
		"how long the tasks of a replica whose machine vanished stand still")
	f.DurationVar(&s.hostTTL, "host-ttl", liveness.HostTTL, "how long a host may be silent before it counts as down")
	f.IntVar(&s.maxTasks, "max-tasks", 2000, "how many tasks to drive at once; others find what is more")
	f.DurationVar(&s.grace, "grace", 10*time.Second, "how long tasks under way may take at a stop before they are handed over")
	s.log.Flags(f)
	daemon.Require(cmd, "name")
	return cmd
}

// check refuses what the library would only find out when it runs.
func (s *serve) check() error {
	for flag, ttl := range map[string]time.Duration{"session-ttl": s.sessionTTL, "host-ttl": s.hostTTL} {
		if ttl < liveness.MinTTL || ttl%time.Second != 0 {
			return daemon.Usagef("cannot use --%s %s: it is whole seconds and at least %s", flag, ttl, liveness.MinTTL)
		}
	}
	if s.maxTasks < 1 || s.grace <= 0 {
		return daemon.Usagef("cannot use --max-tasks %d and --grace %s: both are positive", s.maxTasks, s.grace)
	}
	return nil
}

func (s *serve) run(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	log, err := s.log.New(s.name, os.Stderr)
	if err != nil {
		return err
	}
	grpc, err := daemon.Listen(ctx, "grpc", s.grpc)
	if err != nil {
		return err
	}
	http, err := daemon.Listen(ctx, "http", s.http)
	if err != nil {
		return errors.Join(err, grpc.Close())
	}
	c, err := conductor.New(conductor.Config{
		Name: vm.ConductorName(s.name), Version: version.Version(), Endpoints: s.etcd, Prefix: s.prefix,
		GRPC: grpc, HTTP: http, SessionTTL: s.sessionTTL, HostTTL: s.hostTTL, MaxTasks: s.maxTasks, Grace: s.grace,
		Log: log, Point: crashpoint.Hook(),
	})
	if err != nil {
		return errors.Join(err, grpc.Close(), http.Close())
	}
	log.Info("starting; no certificates, so on loopback only", "version", version.Version(),
		"grpc", grpc.Addr(), "http", http.Addr(), "etcd", s.etcd, "prefix", s.prefix)
	if err := c.Run(ctx); err != nil {
		return fmt.Errorf("cannot go on as conductor %s: %w", s.name, err)
	}
	log.Info("stopped")
	return nil
}
