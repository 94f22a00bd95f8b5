package agent

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
	"google.golang.org/grpc/keepalive"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/internal/rpc"
	"leasehold/internal/sealed"
	"leasehold/vm"
)

// Config is all an agent needs. Host, DataDir, Driver, Listener and Conductors are required.
type Config struct {
	Host     vm.HostName
	DataDir  string // fences, tombstones, journal and key; made when missing. Whoever loses it loses the host's epoch
	Driver   drivers.Driver
	Log      hclog.Logger // none when nil
	Listener net.Listener // closed by Run
	Address  string       // what conductors dial; the listener's address when empty

	Conductors    []string // gRPC addresses, asked in this order
	DialOptions   []grpc.DialOption
	ServerOptions []grpc.ServerOption

	// FenceGrace is how long older work may take to obey its context before Fence interrupts the hypervisor; 1 s when
	// zero. FenceLimit is when Fence gives up and says so, if its caller does not before; 15 s when zero.
	FenceGrace time.Duration
	FenceLimit time.Duration
	// Resync is how often, about, every machine is looked at and told again, for the sake of events that were lost; a minute
	// when zero.
	Resync time.Duration
	// JournalLimit is the size in bytes at which the journal is first replaced by a snapshot; 1 MiB when zero.
	JournalLimit int64
	// BootID is the kernel's, unless a test plays another boot.
	BootID string
	// Point is called at each crash point of the package comment, by the goroutine that comes there. Nil: not called.
	Point func(name string)
}

// Agent is the host side of Leasehold on one host.
type Agent struct {
	host       vm.HostName
	address    string
	boot       string
	info       drivers.Info
	driver     drivers.Driver
	log        hclog.Logger
	point      func(string)
	listener   net.Listener
	options    []grpc.ServerOption
	conductors *conductors
	fenceGrace time.Duration
	fenceLimit time.Duration
	resync     time.Duration

	lock     *dirLock
	key      *sealed.Key
	book     *book
	process  int64 // how many agents have opened this data directory
	machines mutexes
	looks    mutexes
	hub      hub
	works    sync.WaitGroup
	halted   chan struct{} // closed when the agent stops: streams end
	retold   chan struct{} // has a token when every machine is to be published again

	registered chan struct{} // closed when the first registration is installed

	mu           sync.Mutex
	stopping     bool
	registration *registration // nil until conductors may command
	quarantine   map[vm.InstanceID]string
	running      map[stepKey]*work

	counted struct{ steps, refused, looks atomic.Int64 }
}

// New takes the data directory and reads it. An error that another agent holds it, or that its journal is damaged, needs a
// person. After nil, Close must be called, when Run has returned.
func New(ctx context.Context, cfg Config) (*Agent, error) {
	a := &Agent{
		host: cfg.Host, address: cfg.Address, boot: cfg.BootID, driver: cfg.Driver, log: cfg.Log, point: cfg.Point,
		listener: cfg.Listener, options: cfg.ServerOptions,
		fenceGrace: cfg.FenceGrace, fenceLimit: cfg.FenceLimit, resync: cfg.Resync,
		halted: make(chan struct{}), retold: make(chan struct{}, 1), registered: make(chan struct{}),
		running: map[stepKey]*work{},
	}
	if err := a.complete(ctx); err != nil {
		return nil, err
	}
	var err error
	if a.conductors, err = dialConductors(cfg.Conductors, cfg.DialOptions); err != nil {
		return nil, err
	}
	if err := a.open(cfg); err != nil {
		return nil, errors.Join(err, a.conductors.close())
	}
	return a, nil
}

// complete fills in what the Config left out.
func (a *Agent) complete(ctx context.Context) error {
	if a.log == nil {
		a.log = hclog.NewNullLogger()
	}
	if a.point == nil {
		a.point = func(string) {}
	}
	if a.address == "" {
		a.address = a.listener.Addr().String()
	}
	if a.fenceGrace == 0 {
		a.fenceGrace = time.Second
	}
	if a.fenceLimit == 0 {
		a.fenceLimit = 15 * time.Second
	}
	if a.resync == 0 {
		a.resync = time.Minute
	}
	var err error
	if a.boot == "" {
		if a.boot, err = bootID(); err != nil {
			return err
		}
	}
	if a.info, err = a.driver.Info(ctx); err != nil {
		return fmt.Errorf("cannot ask the driver what this host offers: %w", err)
	}
	return nil
}

func (a *Agent) open(cfg Config) error {
	var err error
	if a.lock, err = lockDir(cfg.DataDir); err != nil {
		return err
	}
	if a.key, err = openKey(cfg.DataDir, a.log); err != nil {
		return errors.Join(err, a.lock.release())
	}
	if a.book, err = openBook(cfg, a.point, a.log); err != nil {
		return errors.Join(err, a.lock.release())
	}
	a.process = a.book.memory.Process
	return nil
}

// Run serves conductors and keeps the host registered until ctx ends; then it aborts what is under way, as a caller's
// cancel would, and returns nil when all its goroutines have. Machines run on. Any other return is an error after which
// the process must not go on: the disk failed, or the listener.
func (a *Agent) Run(ctx context.Context) error {
	srv := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ChainUnaryInterceptor(rpc.UnaryServer),
		grpc.ChainStreamInterceptor(rpc.StreamServer),
		grpc.WaitForHandlers(true),
		// A conductor whose machine is gone without a word is noticed within 15 s; then its work is cancelled.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}, a.options...)...)
	computev1.RegisterComputeServer(srv, &server{a: a})

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := srv.Serve(a.listener); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	})
	group.Go(func() error { a.stayRegistered(ctx); return nil })
	group.Go(func() error { a.watch(ctx); return nil })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-a.book.broken:
			return fmt.Errorf("cannot go on without a journal: %w", a.book.lost())
		}
	})
	group.Go(func() error {
		<-ctx.Done()
		a.halt()
		stopServing(srv)
		return nil
	})
	err := group.Wait()
	a.works.Wait()
	return err
}

// halt refuses new work and aborts what is under way.
func (a *Agent) halt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopping = true
	close(a.halted)
	for _, w := range a.running {
		w.abort(errStopping)
	}
}

// stopServing lets calls end with their answer: aborted work has one within a second or two.
func stopServing(srv *grpc.Server) {
	const patience = 3 * time.Second
	hard := time.AfterFunc(patience, srv.Stop)
	defer hard.Stop()
	srv.GracefulStop()
}

// Close lets go of the data directory. The driver is not closed: it was opened by somebody else.
func (a *Agent) Close() error {
	return errors.Join(a.conductors.close(), a.book.close(), a.lock.release())
}
