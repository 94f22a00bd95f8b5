package liveness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/internal/boottime"
	"leasehold/vm"
)

// DefaultTTL is the life of a session's lease without renewal: how long the tasks of a machine that vanished stand still.
// MinTTL is what etcd grants at least with its default timers.
const (
	DefaultTTL = 10 * time.Second
	MinTTL     = 2 * time.Second
)

// SessionConfig of a Session, and of the Keeper that opens one after another.
type SessionConfig struct {
	Client  *clientv3.Client // for leases only: a keep-alive must not queue behind other work
	Store   *coord.Store
	Name    vm.ConductorName
	Address string // gRPC host:port; it must listen before Open and until Close
	HTTP    string
	Version string
	TTL     time.Duration // DefaultTTL when zero, whole seconds
	// Margin is what lies between the end of trust and the end of the lease: the time that an effect, checked just before,
	// needs to reach its agent, and the drift of two clocks. TTL/5 when zero, less than TTL/3.
	Margin time.Duration
	Dial   Dial           // to ask who is at a taken name's address; nil: whoever accepts a connection is alive
	Clock  boottime.Clock // boottime.Now when nil
	Log    hclog.Logger

	announce func(incarnation string) // told before the alive key can be seen
}

func (c SessionConfig) withDefaults() (SessionConfig, error) {
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.Margin == 0 {
		c.Margin = c.TTL / 5
	}
	if c.TTL < MinTTL || c.TTL%time.Second != 0 {
		return c, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot use a session TTL of %v: it must be whole seconds and at least %v", c.TTL, MinTTL)
	}
	// One renewal each TTL/3, answered as late as TTL/3, must leave a window: TTL/3 + TTL/3 < TTL - margin.
	if c.Margin < 0 || c.Margin >= c.TTL/3 {
		return c, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot use a margin of %v with a session TTL of %v: it must be less than a third", c.Margin, c.TTL)
	}
	if c.Clock == nil {
		c.Clock = boottime.Now
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.announce == nil {
		c.announce = func(string) {}
	}
	return c, nil
}

// Session is a conductor's one lease and its trust window. It is safe for concurrent use.
type Session struct {
	cfg   SessionConfig
	lease clientv3.LeaseID
	ctx   context.Context // the window itself, handed out by Context
	end   context.CancelCauseFunc

	mu           sync.Mutex
	trustedUntil time.Duration // V1: sentAt + TTL - margin
	record       vm.AliveConductor
	mod          int64 // of the alive key, as last written here
}

// Conductor is the name that claims carry.
func (s *Session) Conductor() vm.ConductorName { return s.cfg.Name }

// Lease is what claims, locks and the alive key hang on.
func (s *Session) Lease() int64 { return int64(s.lease) }

// Incarnation is the lease id in hex: it tells two processes, or two sessions of one, apart.
func (s *Session) Incarnation() string { return incarnation(int64(s.lease)) }

func incarnation(lease int64) string { return fmt.Sprintf("%x", lease) }

// Context ends with the trust window, with cause ErrLost or ErrStopping. All work of the session hangs on it. A timer ends
// it, which may be late after a suspend: Trusted is the check before an effect.
func (s *Session) Context() context.Context { return s.ctx }

// Trusted is nil while the session may be acted on, else the cause of its end. Call it right before each effect. The
// window saves refused work; safety is the fence.
func (s *Session) Trusted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trusted()
}

// trusted ends the window when its time has come. The lock is held: so no renewal can slip between look and end. V2
func (s *Session) trusted() error {
	if s.ctx.Err() == nil && s.cfg.Clock() >= s.trustedUntil {
		s.lose(fmt.Sprintf("no keep-alive was answered within %v", s.cfg.TTL-s.cfg.Margin))
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// remaining is how long the window stays open without a renewal.
func (s *Session) remaining() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trustedUntil - s.cfg.Clock()
}

// renewed moves the end of an open window. V1, V2
func (s *Session) renewed(sentAt time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trusted() == nil {
		s.trustedUntil = max(s.trustedUntil, sentAt+s.cfg.TTL-s.cfg.Margin)
	}
}

// lose ends the window early.
func (s *Session) lose(why string) { s.end(fmt.Errorf("%w: %s", ErrLost, why)) }

// Run renews the lease until the window ends, and returns why; or until ctx ends, when it returns ctx's cause and leaves
// the session as it is, to run out or to be closed.
func (s *Session) Run(ctx context.Context) error {
	interval := s.cfg.TTL / 3
	for wait := interval; ; {
		timer := time.NewTimer(min(wait, max(s.remaining(), 0)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-s.ctx.Done():
			timer.Stop()
			return s.Trusted()
		case <-timer.C:
		}
		if err := s.Trusted(); err != nil {
			return err
		}
		switch err := s.keepAlive(ctx); {
		case err == nil:
			wait = interval
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			s.lose("etcd does not know it any more")
		case ctx.Err() != nil || s.ctx.Err() != nil:
		default:
			s.cfg.Log.Warn("keep-alive failed", "remaining", s.remaining(), "error", err)
			wait = s.cfg.TTL / 40 // a refused connection fails at once: do not spin
		}
	}
}

// keepAlive renews once. An answer that has not come after TTL/3, or when the window ends, is not waited for.
func (s *Session) keepAlive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.cfg.TTL/3, s.remaining()))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() //nolint:contextcheck // the window ends the call as well as the caller
	sentAt := s.cfg.Clock()
	if _, err := s.cfg.Client.KeepAliveOnce(ctx, s.lease); err != nil {
		return err
	}
	s.renewed(sentAt)
	return nil
}

// Drain shows in the alive key that this conductor takes over nothing more. It is not undone but by a new session.
func (s *Session) Drain(ctx context.Context) error {
	s.mu.Lock()
	record, mod := s.record, s.mod
	s.mu.Unlock()
	if record.Draining {
		return nil
	}
	record.Draining = true
	key := s.cfg.Store.Keys().AliveConductor(s.cfg.Name)
	mod, err := s.cfg.Store.Commit(ctx, new(coord.Txn{Name: "session-drain"}).
		If(coord.Unchanged(key, mod)).
		Then(coord.PutLeased(key, record, s.Lease()).Witness()))
	if err != nil {
		return fmt.Errorf("cannot drain conductor %s: %w", s.cfg.Name, err)
	}
	s.mu.Lock()
	s.record, s.mod = record, mod
	s.mu.Unlock()
	return nil
}

// Close ends the window with ErrStopping and revokes the lease, with everything that hangs on it. Without an answer the
// lease ends by itself.
func (s *Session) Close(ctx context.Context) error {
	s.end(ErrStopping)
	if err := revoke(ctx, s.cfg.Client, s.Lease()); err != nil {
		return fmt.Errorf("cannot close the session of conductor %s: %w", s.cfg.Name, err)
	}
	return nil
}

// revoke ends a lease now. One that is gone already is no error.
func revoke(ctx context.Context, client *clientv3.Client, lease int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := client.Revoke(ctx, clientv3.LeaseID(lease))
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("cannot revoke lease %x: %w", lease, err)
	}
	return nil
}

// callTimeout bounds one call to etcd that is not a keep-alive: two of its elections with default timers.
const callTimeout = 3 * time.Second
