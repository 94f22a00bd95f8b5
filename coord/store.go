package coord

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/vm"
)

// KV is one key with its value and revisions.
type KV struct {
	Key    string
	Value  []byte
	Create int64 // revision that created it
	Mod    int64 // revision of its last change
	Lease  int64 // 0 without a lease
}

// current is how a record of this version begins, as every record has its schema first.
var current = fmt.Appendf(nil, `{"schema":%d,`, vm.Schema)

// Decode reads the JSON value into record. A value of a newer schema is refused with ErrSchema, untouched.
func (kv KV) Decode(record any) error {
	if !bytes.HasPrefix(kv.Value, current) {
		var is struct {
			Schema int `json:"schema"`
		}
		if err := json.Unmarshal(kv.Value, &is); err != nil {
			return fmt.Errorf("cannot read %s: %w", kv.Key, err)
		}
		if is.Schema > vm.Schema {
			return fmt.Errorf("cannot read %s: %w: %d, and this version knows %d", kv.Key, ErrSchema, is.Schema, vm.Schema)
		}
	}
	if err := json.Unmarshal(kv.Value, record); err != nil {
		return fmt.Errorf("cannot read %s: %w", kv.Key, err)
	}
	return nil
}

// Observer is told of each transaction and read, for metrics. Its methods must be fast and safe for concurrent use.
type Observer interface {
	Committed(txn string, took time.Duration, writes, bytes int, err error)
	Read(what string, took time.Duration, err error)
}

// Config of a Store.
type Config struct {
	Client  *clientv3.Client
	Keys    Keys
	Timeout time.Duration // of one try of one call, 3 s when zero: two elections of etcd with default timers
	Observe Observer      // may be nil
	// Point is called before and after each transaction with "txn:<name>:before|after"; the crash matrix hangs on it.
	Point func(point string)
}

// Store is the one way to etcd for records. It is safe for concurrent use.
type Store struct {
	kv      clientv3.KV
	keys    Keys
	timeout time.Duration
	observe Observer
	point   func(string)
}

// NewStore makes a Store; it does not talk to etcd yet.
func NewStore(cfg Config) *Store {
	s := &Store{kv: cfg.Client.KV, keys: cfg.Keys, timeout: cfg.Timeout, observe: cfg.Observe, point: cfg.Point}
	if s.timeout == 0 {
		s.timeout = 3 * time.Second
	}
	if s.observe == nil {
		s.observe = nobody{}
	}
	if s.point == nil {
		s.point = func(string) {}
	}
	return s
}

// Keys builds the keys of this store.
func (s *Store) Keys() Keys { return s.keys }

// Commit makes t happen and returns the revision that all its writes got. Errors: *ConflictError (a guard did not hold,
// nothing written), ErrLeaseGone (nothing written), *TooWideError, ErrUnknown (the caller knows nothing). P1: this is the
// only function that writes records.
func (s *Store) Commit(ctx context.Context, t *Txn) (int64, error) {
	attempt := rand.Text()
	cmps, then, otherwise, witness, err := t.build(attempt)
	if err != nil {
		return 0, err
	}
	s.point("txn:" + t.Name + ":before")
	began := time.Now()
	rev, err := s.commit(ctx, t, attempt, witness, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).If(cmps...).Then(then...).Else(otherwise...).Commit()
	})
	size := 0
	for _, op := range then {
		size += len(op.KeyBytes()) + len(op.ValueBytes())
	}
	s.observe.Committed(t.Name, time.Since(began), len(then), size, err)
	if err == nil {
		s.point("txn:" + t.Name + ":after")
	}
	return rev, err
}

func (s *Store) commit(ctx context.Context, t *Txn, attempt, witness string,
	try func(context.Context) (*clientv3.TxnResponse, error),
) (int64, error) {
	pause, lost := 10*time.Millisecond, error(nil)
	for {
		tctx, cancel := context.WithTimeout(ctx, s.timeout)
		resp, err := try(tctx)
		cancel()
		switch {
		case err == nil && resp.Succeeded:
			return resp.Header.Revision, nil
		case err == nil:
			conflict := t.conflict(resp)
			// An earlier try of ours may have committed without our hearing of it. C1
			if kv, ok := conflict.Now(witness); ok && attemptOf(kv.Value) == attempt {
				return kv.Mod, nil
			}
			if lost != nil && !t.never(conflict) {
				return 0, &storeError{ErrUnknown, t.Name, fmt.Errorf("an answer was lost (%w), and then: %v", lost, conflict)}
			}
			return 0, conflict
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return 0, &storeError{ErrLeaseGone, t.Name, err}
		case definite(err):
			return 0, fmt.Errorf("internal error: cannot %s: %w", t.Name, err)
		case ctx.Err() != nil:
			return 0, &storeError{ErrUnknown, t.Name, err}
		}
		lost = err
		select {
		case <-ctx.Done():
			return 0, &storeError{ErrUnknown, t.Name, err}
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

// definite says whether etcd refused the request itself, so that nothing can have been written.
func definite(err error) bool {
	for _, d := range []error{
		rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey, rpctypes.ErrRequestTooLarge, rpctypes.ErrEmptyKey,
		rpctypes.ErrPermissionDenied, rpctypes.ErrKeyNotFound, rpctypes.ErrValueProvided,
	} {
		if errors.Is(err, d) {
			return true
		}
	}
	return false
}

// conflict collects the else branch. Its responses stand in the order of first mention of the guarded keys.
func (t *Txn) conflict(resp *clientv3.TxnResponse) *ConflictError {
	e := &ConflictError{Txn: t.Name, Revision: resp.Header.Revision, Current: make(map[string][]KV)}
	order := make([]string, 0, len(resp.Responses))
	seen := map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			order = append(order, key)
		}
	}
	for _, g := range t.Guards {
		add(g.key)
	}
	for _, w := range t.Writes {
		if w.witness {
			add(w.key)
		}
	}
	for i, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().GetKvs() {
			e.Current[order[i]] = append(e.Current[order[i]], fromPB(kv))
		}
	}
	for _, g := range t.Guards {
		if !g.holds(e.Current[g.key]) {
			e.Failed = append(e.Failed, g.key)
		}
	}
	return e
}

// Get reads one key from etcd, linearizably. ErrNotFound when there is none.
func (s *Store) Get(ctx context.Context, key string) (KV, error) {
	resp, err := s.read(ctx, key)
	if err != nil {
		return KV{}, err
	}
	if len(resp.Kvs) == 0 {
		return KV{}, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	return fromPB(resp.Kvs[0]), nil
}

// Page is part of a list.
type Page struct {
	KVs      []KV
	More     bool
	Revision int64
}

// List reads keys under prefix in key order, or in reverse, at most limit of them (0: all), beginning after the key
// given (empty: from the start, or the end).
func (s *Store) List(ctx context.Context, prefix, after string, limit int64, reverse bool) (Page, error) {
	from, to := prefix, clientv3.GetPrefixRangeEnd(prefix)
	order := clientv3.SortAscend
	if reverse {
		order = clientv3.SortDescend
	}
	if after != "" {
		if !strings.HasPrefix(after, prefix) {
			return Page{}, fmt.Errorf("internal error: %q is not under %q", after, prefix)
		}
		if reverse {
			to = after
		} else {
			from = after + "\x00"
		}
	}
	resp, err := s.read(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(limit),
		clientv3.WithSort(clientv3.SortByKey, order))
	if err != nil {
		return Page{}, err
	}
	p := Page{More: resp.More, Revision: resp.Header.Revision, KVs: make([]KV, 0, len(resp.Kvs))}
	for _, kv := range resp.Kvs {
		p.KVs = append(p.KVs, fromPB(kv))
	}
	return p, nil
}

// Count is how many keys are under prefix, without reading any.
func (s *Store) Count(ctx context.Context, prefix string) (int64, error) {
	resp, err := s.read(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Count, nil
}

func (s *Store) read(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	began := time.Now()
	rctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.kv.Get(rctx, key, opts...)
	t, _, _ := s.keys.Split(key)
	s.observe.Read(string(t), time.Since(began), err)
	if err != nil {
		return nil, &storeError{ErrUnavailable, "read " + key, err}
	}
	return resp, nil
}

func fromPB(kv *mvccpb.KeyValue) KV {
	return KV{Key: string(kv.Key), Value: kv.Value, Create: kv.CreateRevision, Mod: kv.ModRevision, Lease: kv.Lease}
}

type nobody struct{}

func (nobody) Committed(string, time.Duration, int, int, error) {}
func (nobody) Read(string, time.Duration, error)                {}
