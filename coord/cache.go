package coord

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Entry is one live record in the cache. It is immutable; its decoded form is made once and shared, so nobody changes it.
type Entry struct {
	KV
	decoded atomic.Value
}

// Change is what happened to one key: Now is nil when it was removed, Was is nil when it was new.
type Change struct {
	Key      string
	Table    Table
	Rest     string // the key behind its table
	Was, Now *Entry
	Revision int64
}

// Cache is a copy of every live record, a little late. It is safe for concurrent use.
type Cache struct {
	client *clientv3.Client
	keys   Keys
	log    hclog.Logger

	mu       sync.RWMutex
	tables   map[Table]map[string]*Entry
	revision int64
	waiters  map[chan struct{}]int64 // closed when revision reaches the number
	subs     []func([]Change)
	ready    chan struct{}
	nudge    chan struct{} // somebody waits for a revision
	heard    time.Time     // last answer of etcd
	resyncs  int64
}

// NewCache makes an empty cache; Run fills it.
func NewCache(client *clientv3.Client, keys Keys, log hclog.Logger) *Cache {
	return &Cache{
		client: client, keys: keys, log: log, tables: map[Table]map[string]*Entry{},
		waiters: map[chan struct{}]int64{}, ready: make(chan struct{}), nudge: make(chan struct{}, 1),
	}
}

// Keys builds the keys of this store.
func (c *Cache) Keys() Keys { return c.keys }

// Subscribe has fn called with every batch of changes, all those of one or more whole revisions, in order. fn runs in the
// cache's goroutine after the batch is visible: it must be quick and must not wait. Call it before Run.
func (c *Cache) Subscribe(fn func([]Change)) { c.subs = append(c.subs, fn) }

// Ready is closed when the cache has been filled for the first time.
func (c *Cache) Ready() <-chan struct{} { return c.ready }

// Revision is the store revision that the contents are those of.
func (c *Cache) Revision() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.revision
}

// Heard is when etcd last sent anything, which in an idle store is long ago, and how often the cache had to list again.
func (c *Cache) Heard() (last time.Time, resyncs int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.heard, c.resyncs
}

// WaitRevision returns when the contents are at least those of revision rev, or ctx has ended.
func (c *Cache) WaitRevision(ctx context.Context, rev int64) error {
	c.mu.Lock()
	if c.revision >= rev {
		c.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	c.waiters[ch] = rev
	c.mu.Unlock()
	select {
	case c.nudge <- struct{}{}:
	default:
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiters, ch)
		c.mu.Unlock()
		return &storeError{ErrUnavailable, fmt.Sprintf("wait for revision %d", rev), context.Cause(ctx)}
	}
}

// Entry returns the record under key.
func (c *Cache) Entry(key string) (*Entry, bool) {
	t, rest, ok := c.keys.Split(key)
	if !ok {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.tables[t][rest]
	return e, ok
}

// Entries returns the records of one table in key order.
func (c *Cache) Entries(t Table) []*Entry {
	c.mu.RLock()
	es := slices.Collect(maps.Values(c.tables[t]))
	c.mu.RUnlock()
	slices.SortFunc(es, func(a, b *Entry) int { return strings.Compare(a.Key, b.Key) })
	return es
}

// Count is the number of records in a table.
func (c *Cache) Count(t Table) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.tables[t])
}

// Snapshot returns every entry and the revision they are those of.
func (c *Cache) Snapshot() (map[string]*Entry, int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := map[string]*Entry{}
	for _, t := range c.tables {
		for _, e := range t {
			all[e.Key] = e
		}
	}
	return all, c.revision
}

// Load returns the decoded record under key. The record is shared: copy it before changing anything it points to.
func Load[T any](c *Cache, key string) (*T, *Entry, bool) {
	e, ok := c.Entry(key)
	if !ok {
		return nil, nil, false
	}
	r, err := Decoded[T](e)
	if err != nil {
		c.log.Error("cannot read a record", "key", key, "error", err)
		return nil, nil, false
	}
	return r, e, true
}

// Decoded returns the entry's value as T, decoding it at the first call. One key has one type.
func Decoded[T any](e *Entry) (*T, error) {
	if r, ok := e.decoded.Load().(*T); ok {
		return r, nil
	}
	r := new(T)
	if err := e.Decode(r); err != nil {
		return nil, err
	}
	e.decoded.Store(r)
	return r, nil
}

// All decodes a whole table, leaving out what cannot be read (which is logged).
func All[T any](c *Cache, t Table) []*T {
	es := c.Entries(t)
	out := make([]*T, 0, len(es))
	for _, e := range es {
		r, err := Decoded[T](e)
		if err != nil {
			c.log.Error("cannot read a record", "key", e.Key, "error", err)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Run keeps the cache current until ctx ends. It returns only ctx's cause: everything else is tried again.
func (c *Cache) Run(ctx context.Context) error {
	pause := 20 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := c.listAndWatch(ctx)
		if ctx.Err() != nil {
			break
		}
		c.log.Warn("watch ended, listing again", "revision", c.Revision(), "error", err)
		if time.Since(began) > 10*time.Second {
			pause = 20 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		}
	}
	return context.Cause(ctx)
}

const listPage = 2000

func (c *Cache) listAndWatch(ctx context.Context) error {
	fresh, rev, err := c.list(ctx)
	if err != nil {
		return err
	}
	c.replace(fresh, rev)

	wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	watch := c.client.Watch(wctx, c.keys.Root(), clientv3.WithPrefix(), clientv3.WithRev(rev+1),
		clientv3.WithProgressNotify())
	var asking sync.WaitGroup
	asking.Go(func() { c.askProgress(wctx) })
	defer asking.Wait()
	defer cancel()
	for resp := range watch {
		if err := resp.Err(); err != nil {
			return fmt.Errorf("cannot go on watching from revision %d: %w", c.Revision()+1, err)
		}
		c.apply(resp)
	}
	return fmt.Errorf("cannot go on watching from revision %d: the stream was closed", c.Revision()+1)
}

// askProgress has etcd tell its revision while somebody waits for one: it may be that of a write which this watch does not
// see. The answer comes through the watch, behind all events up to it; a member that lags answers with an older one, so it
// is asked again. Nobody waiting, nothing is asked.
func (c *Cache) askProgress(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-c.nudge:
		}
		c.mu.RLock()
		waiting := len(c.waiters) > 0
		c.mu.RUnlock()
		if !waiting {
			continue
		}
		// An error is the watch's own, which hears of it too.
		_ = c.client.RequestProgress(ctx)
		again.Reset(100 * time.Millisecond)
	}
}

// list reads everything at one revision, in pages.
func (c *Cache) list(ctx context.Context) (map[string]*Entry, int64, error) {
	from, to := c.keys.Root(), clientv3.GetPrefixRangeEnd(c.keys.Root())
	fresh := map[string]*Entry{}
	var rev int64
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(to), clientv3.WithLimit(listPage)}
		if rev != 0 {
			opts = append(opts, clientv3.WithRev(rev))
		}
		rctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		resp, err := c.client.Get(rctx, from, opts...)
		cancel()
		if err != nil {
			return nil, 0, fmt.Errorf("cannot list %s: %w", c.keys.Root(), err)
		}
		if rev == 0 {
			rev = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			fresh[string(kv.Key)] = &Entry{KV: fromPB(kv)}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return fresh, rev, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// replace makes the contents those of a full list, telling subscribers what is different, deletions first. C5
func (c *Cache) replace(fresh map[string]*Entry, rev int64) {
	c.mu.Lock()
	first := c.revision == 0
	var changes []Change
	for _, t := range c.tables {
		for _, was := range t {
			if _, ok := fresh[was.Key]; !ok {
				changes = append(changes, c.change(was.Key, was, nil, rev))
			}
		}
	}
	for key, now := range fresh {
		t, rest, _ := c.keys.Split(key)
		was := c.tables[t][rest]
		if was == nil || was.Mod != now.Mod {
			changes = append(changes, c.change(key, was, now, rev))
		}
	}
	c.install(changes, rev)
	if !first {
		c.resyncs++
	}
	c.mu.Unlock()
	c.tell(changes)
	if first {
		close(c.ready)
	}
}

// apply takes one watch response, which holds only whole revisions.
func (c *Cache) apply(resp clientv3.WatchResponse) {
	c.mu.Lock()
	changes := make([]Change, 0, len(resp.Events))
	pending := map[string]*Entry{}
	for _, ev := range resp.Events {
		key := string(ev.Kv.Key)
		was, ok := pending[key]
		if !ok {
			t, rest, _ := c.keys.Split(key)
			was = c.tables[t][rest]
		}
		var now *Entry
		if ev.IsCreate() || ev.IsModify() {
			now = &Entry{KV: fromPB(ev.Kv)}
		}
		pending[key] = now
		changes = append(changes, c.change(key, was, now, ev.Kv.ModRevision))
	}
	// A response that catches up may carry fewer revisions than its header names: the events themselves say how far it goes.
	rev := resp.Header.Revision
	if n := len(resp.Events); n > 0 {
		rev = resp.Events[n-1].Kv.ModRevision
	}
	c.install(changes, rev)
	c.mu.Unlock()
	c.tell(changes)
}

func (c *Cache) change(key string, was, now *Entry, rev int64) Change {
	t, rest, _ := c.keys.Split(key)
	return Change{Key: key, Table: t, Rest: rest, Was: was, Now: now, Revision: rev}
}

// install writes changes into the tables and wakes who waits for the revision. The lock is held.
func (c *Cache) install(changes []Change, rev int64) {
	for _, ch := range changes {
		if ch.Now == nil {
			delete(c.tables[ch.Table], ch.Rest)
			continue
		}
		if c.tables[ch.Table] == nil {
			c.tables[ch.Table] = map[string]*Entry{}
		}
		c.tables[ch.Table][ch.Rest] = ch.Now
	}
	c.revision = max(c.revision, rev)
	c.heard = time.Now()
	for ch, want := range c.waiters {
		if want <= c.revision {
			close(ch)
			delete(c.waiters, ch)
		}
	}
}

func (c *Cache) tell(changes []Change) {
	if len(changes) == 0 {
		return
	}
	for _, fn := range c.subs {
		fn(changes)
	}
}
