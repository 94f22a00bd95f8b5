package liveness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/coord"
	"leasehold/vm"
)

// Open grants a lease and writes the alive key on it. When the name is taken and the process that took it is provably
// gone (V3), its lease is revoked and the name used at once; else the error is a *NameTakenError. Other errors are etcd's;
// after them nothing is left but, at worst, a lease that expires by itself. ctx bounds Open only: the session outlives it.
func Open(ctx context.Context, cfg SessionConfig) (*Session, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	sentAt := cfg.Clock()
	gctx, cancel := context.WithTimeout(ctx, callTimeout)
	grant, err := cfg.Client.Grant(gctx, int64(cfg.TTL/time.Second))
	cancel()
	if err != nil {
		return nil, fmt.Errorf("cannot open a session for conductor %s: %w", cfg.Name, err)
	}
	s := &Session{cfg: cfg, lease: grant.ID, trustedUntil: sentAt + cfg.TTL - cfg.Margin}
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	s.record = vm.AliveConductor{
		Schema: vm.Schema, ID: cfg.Name, Name: cfg.Name, Address: cfg.Address, HTTP: cfg.HTTP, Version: cfg.Version,
		Incarnation: s.Incarnation(), Started: time.Now().UTC(),
	}
	cfg.announce(s.Incarnation())
	if err := s.enter(ctx); err != nil {
		cfg.announce("")
		s.end(ErrStopping)
		if rerr := revoke(context.WithoutCancel(ctx), cfg.Client, s.Lease()); rerr != nil {
			cfg.Log.Warn("left a lease behind", "lease", s.Incarnation(), "ttl", cfg.TTL, "error", rerr)
		}
		return nil, err
	}
	return s, nil
}

// enter writes the alive key, once per predecessor that is found dead. It ends with the window at the latest.
func (s *Session) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.remaining())
	defer cancel()
	key := s.cfg.Store.Keys().AliveConductor(s.cfg.Name)
	for {
		mod, err := s.cfg.Store.Commit(ctx, new(coord.Txn{Name: "session-open"}).
			If(coord.Absent(key)).
			Then(coord.PutLeased(key, s.record, s.Lease()).Witness()))
		if err == nil {
			s.mod = mod
			return s.Trusted()
		}
		conflict, ok := errors.AsType[*coord.ConflictError](err)
		if !ok {
			return fmt.Errorf("cannot open a session for conductor %s: %w", s.cfg.Name, err)
		}
		if err := s.displace(ctx, conflict, key); err != nil {
			return err
		}
	}
}

// displace revokes the lease of a dead process that has our name.
func (s *Session) displace(ctx context.Context, conflict *coord.ConflictError, key string) error {
	kv, ok := conflict.Now(key)
	if !ok {
		return nil // it went away in between
	}
	if kv.Lease == 0 {
		return fmt.Errorf("cannot open a session for conductor %s: %s hangs on no lease, so it never ends: remove it",
			s.cfg.Name, key)
	}
	var was vm.AliveConductor
	if err := kv.Decode(&was); err != nil {
		return err
	}
	taken := &NameTakenError{
		Name: s.cfg.Name, Incarnation: incarnation(kv.Lease), Address: was.Address, Since: was.Started,
	}
	verdict := examine(ctx, s.cfg.Dial, s.cfg.Name, was.Address, taken.Incarnation, s.Incarnation())
	if taken.Alive = verdict == lives; verdict != gone {
		return taken
	}
	s.cfg.Log.Info("the name's earlier process is gone, revoking its lease", "previous_incarnation", taken.Incarnation,
		"address", was.Address, "started", was.Started)
	_, err := revokeIncarnation(ctx, s.cfg.Store, s.cfg.Client, s.cfg.Name, kv.Lease)
	return err
}
