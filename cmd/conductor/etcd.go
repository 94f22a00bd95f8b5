package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"leasehold/internal/daemon"
)

// store is the settings of one member of an etcd cluster.
type store struct {
	name           string
	dataDir        string
	clientURL      string
	peerURL        string
	initialCluster string
	initialState   string
	tick           time.Duration
	election       time.Duration
	compaction     time.Duration
	quotaGiB       int64
	verbose        bool
	log            daemon.Log
}

func etcdCommand() *cobra.Command {
	var s store
	cmd := &cobra.Command{
		Use:   "etcd",
		Short: "Run an etcd server, set up as Leasehold needs it",
		Long: `etcd runs one member of an etcd cluster; alone it is a cluster of one. It is etcd itself: any other etcd of version 3.5
or newer will do as well, as long as it compacts its history.`,
		Example: `  conductor etcd --data-dir /var/lib/leasehold/etcd
  conductor etcd --name e1 --data-dir e1 --client-url http://127.0.0.1:2379 --peer-url http://127.0.0.1:2380 \
    --initial-cluster e1=http://127.0.0.1:2380,e2=http://127.0.0.1:2382,e3=http://127.0.0.1:2384`,
		Args: cobra.NoArgs,
		RunE: daemon.Body(s.run),
	}
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "default", "name of this member")
	f.StringVar(&s.dataDir, "data-dir", "", "where its data is kept (required)")
	f.StringVar(&s.clientURL, "client-url", "http://127.0.0.1:2379", "where clients connect")
	f.StringVar(&s.peerURL, "peer-url", "http://127.0.0.1:2380", "where other members connect")
	f.StringVar(&s.initialCluster, "initial-cluster", "", "all first members, name=peer-url separated by commas (default: this one)")
	f.StringVar(&s.initialState, "initial-cluster-state", "new", "new, or existing for a member that was added later")
	f.DurationVar(&s.tick, "tick", 100*time.Millisecond, "heartbeat between members")
	f.DurationVar(&s.election, "election", time.Second, "how long a member waits for a heartbeat before it elects a leader")
	f.DurationVar(&s.compaction, "compaction", 5*time.Minute, "how much history is kept; conductors need seconds of it")
	f.Int64Var(&s.quotaGiB, "quota-gib", 2, "size at which the store takes no more writes")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "show etcd's own log")
	s.log.Flags(f)
	daemon.Require(cmd, "data-dir")
	return cmd
}

// config is etcd's. Without certificates it listens on loopback only.
func (s *store) config() (*embed.Config, error) {
	client, err := loopbackURL("client-url", s.clientURL)
	if err != nil {
		return nil, err
	}
	peer, err := loopbackURL("peer-url", s.peerURL)
	if err != nil {
		return nil, err
	}
	if s.quotaGiB < 1 || s.compaction < time.Second {
		return nil, daemon.Usagef("cannot use --quota-gib %d and --compaction %s: at least 1 and 1s", s.quotaGiB, s.compaction)
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = s.name, s.dataDir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.ClusterState, cfg.InitialCluster = s.initialState, s.initialCluster
	if cfg.InitialCluster == "" {
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	}
	cfg.TickMs, cfg.ElectionMs = uint(s.tick.Milliseconds()), uint(s.election.Milliseconds())
	// Every task leaves history behind, so a store that never compacts is full one day.
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, s.compaction.String()
	cfg.QuotaBackendBytes = s.quotaGiB << 30
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(s.etcdLog())
	if err := cfg.Validate(); err != nil {
		return nil, daemon.Usagef("cannot start etcd: %v", err)
	}
	return cfg, nil
}

func loopbackURL(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" {
		return nil, daemon.Usagef("cannot use --%s %q: it is not of the form http://127.0.0.1:port", flag, text)
	}
	return u, daemon.Loopback(flag, u.Host)
}

// etcdLog is silent unless asked for: what goes wrong is returned, and the rest is etcd's own business.
func (s *store) etcdLog() *zap.Logger {
	if !s.verbose {
		return zap.NewNop()
	}
	encoder := zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(os.Stderr), zap.InfoLevel))
}

func (s *store) run(ctx context.Context) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	log, err := s.log.New("etcd", os.Stderr)
	if err != nil {
		return err
	}
	release, err := daemon.Lock(s.dataDir) // etcd itself would wait for it in silence
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // the process ends
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("cannot start etcd: %w", err)
	}
	defer e.Close()
	log.Info("starting; no certificates, so on loopback only", "client", s.clientURL, "peer", s.peerURL, "data_dir", s.dataDir)
	for ready := e.Server.ReadyNotify(); ; ready = nil {
		select {
		case <-ready:
			log.Info("ready", "leader", e.Server.Leader().String(), "term", e.Server.Term())
		case <-ctx.Done():
			log.Info("stopping", "why", context.Cause(ctx))
			return nil
		case err := <-e.Err():
			return fmt.Errorf("cannot go on as etcd member %s: %w", s.name, err)
		case <-e.Server.StopNotify():
			return errors.New("cannot go on: etcd stopped by itself; see --verbose")
		}
	}
}
