package liveness

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Keeper opens one session after another, so that a conductor has one whenever etcd lets it. It is safe for concurrent use.
type Keeper struct {
	cfg       SessionConfig
	log       hclog.Logger
	onSession []func(*Session)
	onLost    []func(*Session)

	mu          sync.Mutex
	current     *Session
	incarnation string // of the current session, or of one that is being opened; empty without
	changed     chan struct{}
	stopped     bool
}

// NewKeeper makes a Keeper; Run does the work.
func NewKeeper(cfg SessionConfig) (*Keeper, error) {
	if _, err := cfg.withDefaults(); err != nil {
		return nil, err
	}
	k := &Keeper{cfg: cfg, log: cfg.Log, changed: make(chan struct{})}
	if k.log == nil {
		k.log = hclog.NewNullLogger()
	}
	k.cfg.announce = k.announce
	return k, nil
}

// OnSession has fn called with each new session, OnLost with each that was lost, in turn and in the Keeper's goroutine,
// while no keep-alive is sent: they must be quick. A session that is closed at the end is not lost. Call both before Run.
func (k *Keeper) OnSession(fn func(*Session)) { k.onSession = append(k.onSession, fn) }

// OnLost is the other half of OnSession. The session's context has ended; its lease may not have been revoked yet.
func (k *Keeper) OnLost(fn func(*Session)) { k.onLost = append(k.onLost, fn) }

// Current is the session to act under, nil when there is none.
func (k *Keeper) Current() *Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// Incarnation is what this process answers to peers: that of the current session, or of the one it is about to show in
// its alive key, else empty. changed is closed when that is no longer so; stopped says that it will not change again.
func (k *Keeper) Incarnation() (incarnation string, changed <-chan struct{}, stopped bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.incarnation, k.changed, k.stopped
}

func (k *Keeper) announce(incarnation string) { k.set(nil, incarnation, false) }

func (k *Keeper) set(s *Session, incarnation string, stopped bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.incarnation != incarnation || k.stopped != stopped {
		close(k.changed)
		k.changed = make(chan struct{})
	}
	k.current, k.incarnation, k.stopped = s, incarnation, stopped
}

// Run keeps a session open until ctx ends; then it closes the one there is and returns ctx's cause. It returns earlier
// only with a *NameTakenError, when it never had a session and another process that lives has its name.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.set(nil, "", true)
	pause, had := minPause, false
	for ctx.Err() == nil {
		s, err := Open(ctx, k.cfg)
		if taken, ok := errors.AsType[*NameTakenError](err); ok && taken.Alive && !had {
			return err
		}
		if err != nil {
			k.log.Warn("no session yet, trying again", "in", pause, "error", err)
			pause = wait(ctx, pause)
			continue
		}
		had = true
		k.log.Info("session opened", "incarnation", s.Incarnation(), "ttl", s.cfg.TTL, "margin", s.cfg.Margin)
		opened := time.Now()
		k.hold(ctx, s)
		if time.Since(opened) > s.cfg.TTL {
			pause = minPause
		}
		pause = wait(ctx, pause) // two processes that revoke each other must not do it as fast as they can
	}
	return context.Cause(ctx)
}

// hold has a session until it is lost and revoked, or ctx ends and it is closed.
func (k *Keeper) hold(ctx context.Context, s *Session) {
	k.set(s, s.Incarnation(), false)
	for _, fn := range k.onSession {
		fn(s)
	}
	err := s.Run(ctx)
	if ctx.Err() != nil {
		k.set(nil, s.Incarnation(), false) // to its end peers hear that it is no other
		// The end of ctx must not keep the lease alive for another TTL.
		if err := s.Close(context.WithoutCancel(ctx)); err != nil {
			k.log.Warn("session left to its TTL", "incarnation", s.Incarnation(), "error", err)
		}
		return
	}
	k.set(nil, "", false)
	k.log.Warn("session ended", "incarnation", s.Incarnation(), "error", err)
	for _, fn := range k.onLost {
		fn(s)
	}
	for pause := minPause; ; pause = wait(ctx, pause) { // V2
		if err = revoke(context.WithoutCancel(ctx), s.cfg.Client, s.Lease()); err == nil || ctx.Err() != nil {
			return
		}
		k.log.Warn("cannot end the lost session yet", "incarnation", s.Incarnation(), "error", err)
	}
}

const (
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
)

// wait lets a pause pass, or ctx end, and returns the next pause.
func wait(ctx context.Context, pause time.Duration) time.Duration {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return min(2*pause, maxPause)
}
