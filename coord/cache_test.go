package coord_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/internal/netfault"
)

// seen collects what a subscriber is told.
type seen struct {
	mu      sync.Mutex
	batches [][]coord.Change
}

func (s *seen) tell(b []coord.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, b)
}

// take returns the changes told since the last take, sorted by key, as one line each.
func (s *seen) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, b := range s.batches {
		for _, ch := range b {
			out = append(out, fmt.Sprintf("%s/%s %s -> %s", ch.Table, ch.Rest, nameOf(ch.Was), nameOf(ch.Now)))
		}
	}
	s.batches = nil
	slices.Sort(out)
	return out
}

func nameOf(e *coord.Entry) string {
	if e == nil {
		return "-"
	}
	r, err := coord.Decoded[record](e)
	if err != nil {
		return err.Error()
	}
	return r.Name
}

// watched is a filled cache with its subscriber.
func (w world) watched(t *testing.T, c *clientv3.Client) (*coord.Cache, *seen) {
	t.Helper()
	cache, s := newCache(c, w.keys), new(seen)
	cache.Subscribe(s.tell)
	coordtest.RunCache(t, cache)
	return cache, s
}

// equalsEtcd compares the cache, once it has come as far, with a full read.
func (w world) equalsEtcd(t *testing.T, c *coord.Cache) {
	t.Helper()
	resp, err := w.client.Get(t.Context(), w.keys.Root(), clientv3.WithPrefix())
	require.NoError(t, err)
	require.NoError(t, c.WaitRevision(within(t), resp.Header.Revision))
	all, _ := c.Snapshot()
	want, got := map[string]coord.KV{}, map[string]coord.KV{}
	for _, kv := range resp.Kvs {
		want[string(kv.Key)] = coord.KV{
			Key: string(kv.Key), Value: kv.Value, Create: kv.CreateRevision, Mod: kv.ModRevision, Lease: kv.Lease,
		}
	}
	for key, e := range all {
		got[key] = e.KV
	}
	require.Equal(t, want, got)
}

func TestCacheIsFilledAndFollows(t *testing.T) {
	w := newWorld(t)
	key := w.keys.Host("h1")
	created := w.create(t, key, "one")
	c, s := w.watched(t, w.client)
	require.Equal(t, []string{"hosts/h1 - -> one"}, s.take())
	require.GreaterOrEqual(t, c.Revision(), created)

	updated := w.update(t, key, created, "two")
	require.NoError(t, c.WaitRevision(within(t), updated))
	r, e, ok := coord.Load[record](c, key)
	require.True(t, ok)
	require.Equal(t, "two", r.Name)
	require.Equal(t, []int64{created, updated}, []int64{e.Create, e.Mod})
	again, _, _ := coord.Load[record](c, key)
	require.Same(t, r, again, "decoded once")
	require.Equal(t, 1, c.Count(coord.Hosts))

	removed := w.remove(t, key)
	require.NoError(t, c.WaitRevision(within(t), removed))
	_, _, ok = coord.Load[record](c, key)
	require.False(t, ok)
	_, ok = c.Entry(key)
	require.False(t, ok)
	_, ok = c.Entry("/foreign")
	require.False(t, ok)
	eventually(t, "the subscriber hears of both", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.batches) == 2
	})
	require.Equal(t, []string{"hosts/h1 one -> two", "hosts/h1 two -> -"}, s.take())
	_, resyncs := c.Heard()
	require.Zero(t, resyncs)
}

func TestCacheIsFilledInPagesOfOneRevision(t *testing.T) {
	w := newWorld(t)
	const n = 4100 // three pages
	for from := 0; from < n; from += 100 {
		var ops []clientv3.Op
		for i := range 100 {
			ops = append(ops, clientv3.OpPut(w.keys.Flavor(fmt.Sprintf("f%05d", from+i)), `{"schema":1}`))
		}
		_, err := w.client.Txn(t.Context()).Then(ops...).Commit()
		require.NoError(t, err)
	}
	c, _ := w.watched(t, w.client)
	require.Equal(t, n, c.Count(coord.Flavors))
	es := c.Entries(coord.Flavors)
	require.True(t, slices.IsSortedFunc(es, func(a, b *coord.Entry) int { return strings.Compare(a.Key, b.Key) }))
	w.equalsEtcd(t, c)
}

// C5, C6: writers change pairs of keys together at random; a reader never sees half a pair, a subscriber gets each
// revision whole and in order, and in the end the cache is what etcd has.
func TestCacheNeverShowsHalfARevision(t *testing.T) {
	w := newWorld(t)
	c, s := w.watched(t, w.client)
	pair := func(i int) (string, string) {
		return w.keys.Instance("") + fmt.Sprint(i), w.keys.Host("") + fmt.Sprint(i)
	}
	stop := make(chan struct{})
	var reader, writers sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			all, _ := c.Snapshot()
			for i := range 5 {
				a, b := pair(i)
				if nameOf(all[a]) != nameOf(all[b]) {
					t.Errorf("half a revision: %s is %s and %s is %s", a, nameOf(all[a]), b, nameOf(all[b]))
					return
				}
			}
		}
	})
	for n := range 3 {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			for i := range 150 {
				a, b := pair(rnd.IntN(5))
				ops := []clientv3.Op{clientv3.OpDelete(a), clientv3.OpDelete(b)}
				if rnd.IntN(3) > 0 {
					v := fmt.Sprintf(`{"schema":1,"name":"%d.%d"}`, n, i)
					ops = []clientv3.Op{clientv3.OpPut(a, v), clientv3.OpPut(b, v)}
				}
				if _, err := w.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	w.equalsEtcd(t, c)
	close(stop)
	reader.Wait()

	s.mu.Lock()
	defer s.mu.Unlock()
	last := int64(0)
	state := map[string]string{}
	for _, batch := range s.batches {
		at := map[int64]int{}
		for _, ch := range batch {
			require.GreaterOrEqual(t, ch.Revision, last)
			last = ch.Revision
			at[ch.Revision]++
			require.Equal(t, cmp.Or(state[ch.Key], "-"), nameOf(ch.Was), "what was is what became before")
			state[ch.Key] = nameOf(ch.Now)
		}
		for rev, n := range at {
			require.Equal(t, 2, n, "revision %d came in parts", rev)
		}
	}
}

// A black hole that lasts until the client gives the connection up, during which the history that it missed is compacted.
func TestResyncAfterCompactionMakesExactlyTheDifference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone, stays, changes := w.keys.Flavor("gone"), w.keys.Flavor("stays"), w.keys.Flavor("changes")
	w.create(t, gone, "gone")
	w.create(t, stays, "stays")
	mod := w.create(t, changes, "before")
	client, proxy := w.proxied(t)
	c, s := w.watched(t, client)
	s.take()

	proxy.Set(netfault.BlackHole)
	connections := proxy.Accepted()
	w.remove(t, gone)
	w.update(t, changes, w.update(t, changes, mod, "between"), "after")
	w.create(t, w.keys.Flavor("new"), "new")
	w.create(t, w.keys.Flavor("brief"), "brief")
	w.remove(t, w.keys.Flavor("brief"))
	w.server.Compact(t)
	_, ok := c.Entry(gone)
	require.True(t, ok, "behind the black hole nothing has changed")
	eventually(t, "the client gives the connection up", func() bool { return proxy.Accepted() > connections })
	require.Empty(t, s.take())
	proxy.Set(netfault.Pass)

	w.equalsEtcd(t, c)
	_, resyncs := c.Heard()
	require.Positive(t, resyncs)
	eventually(t, "the subscriber is told", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.batches) > 0 })
	require.Equal(t, []string{"flavors/changes before -> after", "flavors/gone gone -> -", "flavors/new - -> new"}, s.take())
	revision := w.create(t, w.keys.Flavor("later"), "later")
	require.NoError(t, c.WaitRevision(within(t), revision), "it follows again")
}

func TestShortCutResumesWithoutListingAgain(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	c := newCache(client, w.keys)
	caughtUp := make(chan [2]int64, 16)
	c.Subscribe(func(b []coord.Change) { caughtUp <- [2]int64{b[len(b)-1].Revision, c.Revision()} })
	coordtest.RunCache(t, c)
	proxy.Set(netfault.Cut)
	for _, name := range []string{"a", "b", "c", "d"} {
		w.create(t, w.keys.Flavor(name), name)
	}
	proxy.Set(netfault.Pass)
	w.equalsEtcd(t, c)
	eventually(t, "the subscriber is told", func() bool { return len(caughtUp) > 0 })
	told := <-caughtUp
	require.GreaterOrEqual(t, told[1], told[0], "a batch of many revisions brings the cache to the last of them")
	_, resyncs := c.Heard()
	require.Zero(t, resyncs)
}

func TestWaitRevisionAlsoWaitsForWritesThatTheWatchDoesNotSee(t *testing.T) {
	w := newWorld(t)
	c, _ := w.watched(t, w.client)
	rev := w.create(t, w.keys.History("t1"), "closed")
	require.NoError(t, c.WaitRevision(within(t), rev))
	require.GreaterOrEqual(t, c.Revision(), rev)
	require.NoError(t, c.WaitRevision(within(t), 1), "the past is not waited for")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.WaitRevision(ctx, rev+1_000_000)
	require.ErrorIs(t, err, coord.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRecordThatCannotBeReadIsLoggedAndLeftOut(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var out bytes.Buffer
	c := coord.NewCache(w.client, w.keys, hclog.New(&hclog.LoggerOptions{Output: &out, Mutex: &mu}))
	w.create(t, w.keys.Flavor("good"), "good")
	for name, value := range map[string]string{"bad": "{", "newer": `{"schema":99,"name":"x"}`} {
		_, err := w.client.Put(t.Context(), w.keys.Flavor(name), value)
		require.NoError(t, err)
	}
	coordtest.RunCache(t, c)
	all := coord.All[record](c, coord.Flavors)
	require.Len(t, all, 1)
	require.Equal(t, "good", all[0].Name)
	_, _, ok := coord.Load[record](c, w.keys.Flavor("newer"))
	require.False(t, ok)
	_, ok = c.Entry(w.keys.Flavor("bad"))
	require.True(t, ok, "it is there all the same")
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, out.String(), w.keys.Flavor("bad"))
	require.Contains(t, out.String(), coord.ErrSchema.Error())
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	c := newCache(w.client, w.keys)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-c.Ready()
	cancel(why)
	require.ErrorIs(t, <-ended, why)
}
