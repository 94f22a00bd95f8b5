package conductor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"

	"leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/liveness"
	"leasehold/vm"
)

const (
	// maxRequest is the largest message and body that is read.
	maxRequest = 1 << 20
	// serveGrace is for calls that are being answered when the servers stop. Work has its own grace period, before.
	serveGrace = 3 * time.Second
	// answerWithin is how long a call waits for a store that does not answer before it says so. Three elections of etcd
	// with default timers; what the store answers later is found by whoever asks again with the same idempotency key.
	answerWithin = 10 * time.Second
	// pingEvery is the most often that a client may ask whether the connection lives. Ours do it each 5 s; their clocks
	// and the network may bring two closer together.
	pingEvery = 4 * time.Second
)

// servers answer agents, peers and people on the two addresses of this conductor. They listen before the session opens and
// until it is closed: a refused connection means that the process is dead (package liveness).
type servers struct {
	c      *Conductor
	log    hclog.Logger
	life   context.Context //nolint:containedctx // the end of the process, which ends every call
	grpc   *grpc.Server
	http   *http.Server
	health *health.Server
}

// servers makes the servers; every call ends with life.
func (c *Conductor) servers(life context.Context) *servers {
	s := &servers{c: c, log: c.log.Named("api"), life: life, health: health.NewServer()}
	api, follow := &service{c: c}, &streams{c: c}

	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(rpc.UnaryServer, s.unary),
		grpc.ChainStreamInterceptor(rpc.StreamServer, s.stream),
	)
	conductorv1.RegisterClusterServer(s.grpc, &cluster{c: c, peers: liveness.PeerServer{Keeper: c.keeper}})
	conductorv1.RegisterConductorServer(s.grpc, api)
	conductorv1.RegisterStreamsServer(s.grpc, follow)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.serving(healthv1.HealthCheckResponse_NOT_SERVING)
	c.keeper.OnSession(func(*liveness.Session) { s.serving(healthv1.HealthCheckResponse_SERVING) })
	c.keeper.OnLost(func(*liveness.Session) { s.serving(healthv1.HealthCheckResponse_NOT_SERVING) })

	c.metrics.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/", newREST(life, s, api, follow))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, `{"status":"ok"}`) })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, string(conductorv1.OpenAPI))
	})
	// Profiles are for the operator of this machine; without certificates this address is on loopback only.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.metrics.registry, promhttp.HandlerOpts{}))
	s.http = &http.Server{
		Handler: s.guarded(mux), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return life },
		ErrorLog:    s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s
}

// run serves until ctx ends, then lets what is being answered end within serveGrace.
func (s *servers) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.grpc.Serve(s.c.cfg.GRPC); err != nil && !errors.Is(err, grpc.ErrServerStopped) { // nil: stopped while it served
			return fmt.Errorf("cannot serve gRPC: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		if err := s.http.Serve(s.c.cfg.HTTP); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("cannot serve HTTP: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		s.stop(context.WithoutCancel(ctx))
		return nil
	})
	return group.Wait()
}

func (s *servers) stop(ctx context.Context) {
	s.health.Shutdown()
	hard := time.AfterFunc(serveGrace, s.grpc.Stop)
	defer hard.Stop()
	ctx, cancel := context.WithTimeout(ctx, serveGrace)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Debug("HTTP requests cut off", "error", errors.Join(err, s.http.Close()))
	}
	s.grpc.GracefulStop()
}

func (s *servers) serving(status healthv1.HealthCheckResponse_ServingStatus) {
	for _, name := range []string{
		"", conductorv1.Conductor_ServiceDesc.ServiceName, conductorv1.Streams_ServiceDesc.ServiceName,
		conductorv1.Cluster_ServiceDesc.ServiceName,
	} {
		s.health.SetServingStatus(name, status)
	}
}

// ready says why this conductor cannot take work: it has no store yet, or no session. It needs no host.
func (c *Conductor) ready() error {
	if err := c.readable(); err != nil {
		return err
	}
	if c.keeper.Current() == nil {
		return vm.Refuse(vm.ReasonStoreUnavailable, "conductor %s has no session with the store", c.cfg.Name)
	}
	return nil
}

// readable says why nothing can be read here: before the cache was filled an empty answer would be a lie.
func (c *Conductor) readable() error {
	if !c.seeded.Load() {
		return vm.Refuse(vm.ReasonStoreUnavailable, "conductor %s has not read the store yet", c.cfg.Name)
	}
	return nil
}

func (s *servers) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.c.ready(); err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, `{"status":"ok"}`)
}

// ageHeader marks answers that may be old: seconds since the store was last heard. It is sent only without a session,
// because a store in which nothing happens has nothing to say either.
const ageHeader = "x-leasehold-age"

// age is how old the answers of this conductor may be; ok is false while it has a session and they are current.
func (c *Conductor) age() (seconds string, ok bool) {
	if c.keeper.Current() != nil {
		return "", false
	}
	heard, _ := c.cache.Heard()
	return fmt.Sprintf("%.0f", time.Since(heard).Seconds()), true
}

// unary does for each call what REST does in guarded and newREST: it turns a panic into an error, refuses what cannot be
// read yet, marks old answers, and ends the call with the process.
func (s *servers) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	defer s.caught(info.FullMethod, &err)
	if err := s.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	ctx, end := s.bound(ctx)
	defer end()
	if patient := info.FullMethod == conductorv1.Conductor_WaitTask_FullMethodName; !patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerWithin)
		defer cancel()
	}
	return handle(ctx, req)
}

func (s *servers) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer s.caught(info.FullMethod, &err)
	if err := s.admit(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	ctx, end := s.bound(stream.Context())
	defer end()
	return handle(srv, boundStream{stream, ctx})
}

// admit refuses people until there is something to read. Agents and peers have their own rules.
func (s *servers) admit(ctx context.Context, method string) error {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if service != conductorv1.Conductor_ServiceDesc.ServiceName && service != conductorv1.Streams_ServiceDesc.ServiceName {
		return nil
	}
	if err := s.c.readable(); err != nil {
		return err
	}
	if age, old := s.c.age(); old {
		return grpc.SetHeader(ctx, metadata.Pairs(ageHeader, age))
	}
	return nil
}

// bound makes a call's context end with the process too.
func (s *servers) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

type boundStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream has its context
}

func (s boundStream) Context() context.Context { return s.ctx }

// caught turns a panic into an answer: one request is lost, not the conductor with all that it drives.
func (s *servers) caught(what string, err *error) {
	if p := recover(); p != nil {
		s.log.Error("a call panicked", "call", what, "panic", p, "stack", string(debug.Stack()))
		*err = vm.Refuse(vm.ReasonInternal, "internal error: %s panicked", what)
	}
}

// guarded is caught for HTTP.
func (s *servers) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // the very value
				panic(p)
			}
			s.log.Error("a call panicked", "call", r.Method+" "+r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			writeError(w, vm.Refuse(vm.ReasonInternal, "internal error: %s %s panicked", r.Method, r.URL.Path))
		}()
		next.ServeHTTP(w, r)
	})
}

// over is the answer to a call that ctx has ended: by its caller, or because the process stops.
func over(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrStopping) {
		return vm.Refuse(vm.ReasonStoreUnavailable, "this conductor is stopping; ask another one")
	}
	return ctx.Err()
}
