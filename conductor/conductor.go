package conductor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"leasehold/coord"
	"leasehold/liveness"
	"leasehold/locks"
	"leasehold/tasks"
	"leasehold/vm"
)

// Config of one replica. Everything without a default is required.
type Config struct {
	Name       vm.ConductorName
	Version    string
	Endpoints  []string // of etcd
	Prefix     string   // of all keys, "/leasehold"
	GRPC       net.Listener
	HTTP       net.Listener
	SessionTTL time.Duration // 10 s when zero
	HostTTL    time.Duration // 10 s when zero
	MaxTasks   int           // that it drives at once, 2000 when zero: what is more stays queued for others
	Grace      time.Duration // for work under way at a clean stop, 10 s when zero; then it is handed over
	Log        hclog.Logger

	// Unreachable is how long an agent whose host lease lives may refuse this conductor before its task is handed to one
	// that may reach it: longer than an agent's restart, 10 s when zero.
	Unreachable time.Duration
	// Reach connects to an agent; plain TCP when nil. A test cuts the way of one conductor.
	Reach func(ctx context.Context, address string) (net.Conn, error)
	// Kinds replaces the kinds of tasks; tests add theirs. nil means tasks.All.
	Kinds map[vm.Verb]tasks.Kind
	// Point is called at "txn:<name>:before|after" and "agent:<call>:before|after"; nil in production. The crash matrix
	// hangs on it.
	Point func(point string)
}

// ErrStopping is the cause of work that ends because the process was told to stop.
var ErrStopping = liveness.ErrStopping

// Conductor is one replica. Make it with New, run it with Run.
type Conductor struct {
	cfg   Config
	log   hclog.Logger
	keys  coord.Keys
	kinds map[vm.Verb]tasks.Kind
	point func(string)

	clients     []closer
	store       *coord.Store
	cache       *coord.Cache
	keeper      *liveness.Keeper
	peers       *liveness.Peers
	members     liveness.Members
	leases      *liveness.Hosts
	queue       locks.Queue
	agents      *agents
	allocations *allocations
	hosts       *hostTable
	orphans     *orphans
	workers     *workers
	watchers    *watchers
	recent      *recent
	feed        *feed
	metrics     *metrics

	seeded  atomic.Bool
	storeMu sync.RWMutex
	storeG  generation
}

type closer interface{ Close() error }

// generation is the store's generation and the guard that compares it.
type generation struct {
	Generation int64
	guard      coord.Guard
}

// New makes a replica. It connects to nothing yet.
func New(cfg Config) (*Conductor, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	keys, err := coord.NewKeys(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	// A client of its own for keep-alives, so that a renewal never queues behind other work.
	client, err := coord.Dial(cfg.Endpoints, nil)
	if err != nil {
		return nil, err
	}
	leaseClient, err := coord.Dial(cfg.Endpoints, nil)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	c := &Conductor{
		cfg: cfg, log: cfg.Log, keys: keys, kinds: cfg.Kinds, point: cfg.Point, clients: []closer{client, leaseClient},
		workers: newWorkers(), watchers: newWatchers(), metrics: newMetrics(), recent: newRecent(),
		agents: &agents{creds: insecure.NewCredentials(), reach: cfg.Reach},
	}
	c.store = coord.NewStore(coord.Config{Client: client, Keys: keys, Observe: c.metrics, Point: cfg.Point})
	c.cache = coord.NewCache(client, keys, cfg.Log.Named("cache"))
	c.feed = newFeed(c.cache)
	c.members = liveness.Members{Cache: c.cache}
	c.queue = locks.Queue{Cache: c.cache}
	c.leases = &liveness.Hosts{Client: leaseClient, Store: c.store, Cache: c.cache}
	c.allocations = newAllocations(c.cache, keys)
	c.hosts = newHostTable(c.members)
	c.orphans = newOrphans(c)
	c.keeper, err = liveness.NewKeeper(liveness.SessionConfig{
		Client: leaseClient, Store: c.store, Name: cfg.Name, Address: cfg.GRPC.Addr().String(),
		HTTP: cfg.HTTP.Addr().String(), Version: cfg.Version, TTL: cfg.SessionTTL, Dial: dialPeer,
		Log: cfg.Log.Named("session"),
	})
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.peers = liveness.NewPeers(liveness.PeersConfig{
		Keeper: c.keeper, Cache: c.cache, Store: c.store, Client: leaseClient, Dial: dialPeer, Log: cfg.Log.Named("peers"),
	})
	c.cache.Subscribe(c.changed)
	c.metrics.gauges(c.workers.count, func() int { return c.cache.Count(coord.Tasks) })
	c.cache.Subscribe(c.feed.changed)
	return c, nil
}

func (cfg *Config) complete() error {
	if cfg.Name == "" || !validName(string(cfg.Name)) {
		return fmt.Errorf("cannot start a conductor named %q: give it a name of letters, digits, dot, dash, underscore", cfg.Name)
	}
	if len(cfg.Endpoints) == 0 || cfg.GRPC == nil || cfg.HTTP == nil {
		return fmt.Errorf("cannot start conductor %s: etcd endpoints and two listeners are required", cfg.Name)
	}
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "/leasehold"
	}
	if cfg.SessionTTL == 0 {
		cfg.SessionTTL = liveness.DefaultTTL
	}
	if cfg.HostTTL == 0 {
		cfg.HostTTL = liveness.HostTTL
	}
	if cfg.MaxTasks == 0 {
		cfg.MaxTasks = 2000
	}
	if cfg.Grace == 0 {
		cfg.Grace = 10 * time.Second
	}
	if cfg.Unreachable == 0 {
		cfg.Unreachable = 10 * time.Second
	}
	if cfg.Reach == nil {
		cfg.Reach = dialTCP
	}
	if cfg.Kinds == nil {
		cfg.Kinds = tasks.All()
	}
	if cfg.Point == nil {
		cfg.Point = func(string) {}
	}
	return nil
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func dialPeer(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Run serves until ctx ends: then it refuses new work, finishes or hands over what it drives within the grace period,
// releases its session and returns nil. Another return means that it cannot run, for instance because a living process
// has its name.
func (c *Conductor) Run(ctx context.Context) error {
	defer c.close()
	// Members in start order; life ends them in reverse.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(ErrStopping)
	group, life := errgroup.WithContext(life)
	serve := c.servers(life)
	group.Go(func() error { return ended(life, c.cache.Run(life)) })
	group.Go(func() error { return serve.run(life) })

	session, closeSession := context.WithCancelCause(life)
	sessionDone := make(chan struct{})
	group.Go(func() error {
		defer close(sessionDone)
		if err := c.start(session); err != nil {
			return ended(session, err)
		}
		return ended(session, c.keeper.Run(session))
	})
	group.Go(func() error { return ended(life, c.peers.Run(life)) })
	group.Go(func() error { return ended(life, c.orphans.run(life)) })
	group.Go(func() error { return ended(life, c.watchHosts(life)) })
	group.Go(func() error { return ended(life, c.prune(life)) })

	select {
	case <-ctx.Done():
		c.drain(life)
	case <-life.Done():
	}
	closeSession(ErrStopping)
	<-sessionDone
	end(ErrStopping)
	err := group.Wait()
	<-c.workers.close()
	return err
}

// start waits for the cache and seeds an empty store: before any session, so that nobody is admitted into half a store.
func (c *Conductor) start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.cache.Ready():
	}
	if err := c.seed(ctx); err != nil {
		return err
	}
	c.seeded.Store(true)
	return nil
}

// drain finishes what is under way within the grace period and leaves the rest queued for others.
func (c *Conductor) drain(ctx context.Context) {
	c.log.Info("stopping", "tasks", c.workers.count(), "grace", c.cfg.Grace)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Grace)
	defer cancel()
	idle := c.workers.close() // before anybody is told: from then on it claims nothing
	if s := c.keeper.Current(); s != nil {
		if err := s.Drain(ctx); err != nil {
			c.log.Warn("cannot announce that this conductor drains", "error", err)
		}
	}
	select {
	case <-idle:
	case <-ctx.Done():
		for _, w := range c.workers.all() {
			w.stop(ErrStopping)
		}
		<-idle
	}
}

// ended turns the cause of a context that has ended into nil: that is how members stop.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

func (c *Conductor) close() error {
	c.agents.close()
	var errs []error
	for _, cl := range c.clients {
		errs = append(errs, cl.Close())
	}
	return errors.Join(errs...)
}

// changed is called with every batch of the cache's changes.
func (c *Conductor) changed(changes []coord.Change) {
	for _, ch := range changes {
		switch ch.Table {
		case coord.StoreT:
			c.learnStore(ch.Now)
		case coord.Alive:
			c.hosts.heard(ch)
		case coord.Hosts:
			c.hosts.poke()
		case coord.Cancels:
			if w := c.workers.get(vm.TaskID(ch.Rest)); w != nil && ch.Now != nil {
				w.cancel()
			}
		default:
		}
	}
	c.orphans.changed(changes)
	c.watchers.changed(changes)
}

func (c *Conductor) learnStore(e *coord.Entry) {
	if e == nil {
		return
	}
	s, err := coord.Decoded[vm.Store](e)
	if err != nil {
		c.log.Error("cannot read the store's generation", "error", err)
		return
	}
	c.storeMu.Lock()
	defer c.storeMu.Unlock()
	c.storeG = generation{s.Generation, coord.Unchanged(e.Key, e.Mod)} // mutant:generation
}

// generation is the store's generation as the cache knows it, with the guard that compares it in every transaction.
func (c *Conductor) generation() generation {
	c.storeMu.RLock()
	defer c.storeMu.RUnlock()
	return c.storeG
}

// hasRoom says whether another task may be driven here: neither full nor stopping.
func (c *Conductor) hasRoom() bool { return c.workers.room(c.cfg.MaxTasks) }

// catchUp makes the cache at least as new as the store is now: before a refusal that rests on what the cache does not have.
func (c *Conductor) catchUp(ctx context.Context) error {
	page, err := c.store.List(ctx, c.keys.Store(), "", 1, false)
	if err != nil {
		return err
	}
	return c.cache.WaitRevision(ctx, page.Revision)
}

// relearn waits a little for the cache to hear of what a refused transaction found.
func (c *Conductor) relearn(ctx context.Context, kv coord.KV, found bool) {
	ctx, cancel := context.WithTimeout(ctx, relearnFor)
	defer cancel()
	if !found {
		<-ctx.Done()
		return
	}
	_ = c.cache.WaitRevision(ctx, kv.Mod)
}

const relearnFor = 100 * time.Millisecond
