package coord_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"leasehold/coord"
	"leasehold/internal/netfault"
	"leasehold/vm"
)

// deaf is a KV whose transactions happen and whose answers are lost, the first lose of them. between runs after each loss.
type deaf struct {
	clientv3.KV
	lose    atomic.Int64
	tries   atomic.Int64
	refuse  bool // the request is lost instead: nothing happens
	between func()
}

func (d *deaf) Txn(ctx context.Context) clientv3.Txn { return &deafTxn{d.KV.Txn(ctx), d} }

type deafTxn struct {
	clientv3.Txn
	deaf *deaf
}

func (x *deafTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { x.Txn = x.Txn.If(cs...); return x }
func (x *deafTxn) Then(ops ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Then(ops...); return x }
func (x *deafTxn) Else(ops ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(ops...); return x }

func (x *deafTxn) Commit() (*clientv3.TxnResponse, error) {
	x.deaf.tries.Add(1)
	if x.deaf.lose.Add(-1) < 0 {
		return x.Txn.Commit()
	}
	if !x.deaf.refuse {
		if _, err := x.Txn.Commit(); err != nil {
			return nil, err
		}
	}
	if x.deaf.between != nil {
		x.deaf.between()
	}
	return nil, status.Error(codes.Unavailable, "the answer was lost")
}

// deafStore is a store over w's keys that loses the first n answers.
func (w world) deafStore(t *testing.T, n int64) (*coord.Store, *deaf) {
	t.Helper()
	c := w.server.Client(t)
	d := &deaf{KV: c.KV}
	d.lose.Store(n)
	c.KV = d
	return coord.NewStore(coord.Config{Client: c, Keys: w.keys}), d
}

func TestLostAnswerIsRecognisedAsOwn(t *testing.T) {
	for _, lost := range []int64{1, 3} {
		t.Run(fmt.Sprint(lost, " lost"), func(t *testing.T) {
			w := newWorld(t)
			s, d := w.deafStore(t, lost)
			key := w.keys.Task("t1")
			rev, err := s.Commit(within(t), new(coord.Txn{Name: "admit"}).
				If(coord.Absent(key)).Then(coord.Put(key, named("mine")).Witness()))
			require.NoError(t, err)
			require.Equal(t, lost+1, d.tries.Load())
			kv, err := w.store.Get(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, kv.Mod, rev, "the revision of the try that committed")
			require.Equal(t, kv.Create, rev, "and it committed once")
		})
	}
}

func TestLostRequestIsSentAgain(t *testing.T) {
	w := newWorld(t)
	s, d := w.deafStore(t, 2)
	d.refuse = true
	key := w.keys.Task("t1")
	rev, err := s.Commit(within(t), new(coord.Txn{Name: "admit"}).
		If(coord.Absent(key)).Then(coord.Put(key, named("mine")).Witness()))
	require.NoError(t, err)
	kv, err := w.store.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, kv.Create, rev)
}

func TestTransactionThatBreaksNoGuardWritesTheSameAgain(t *testing.T) {
	w := newWorld(t)
	task, cancel := w.keys.Task("t1"), w.keys.Cancel("t1")
	w.create(t, task, "t1")
	s, _ := w.deafStore(t, 1)
	rev, err := s.Commit(within(t), new(coord.Txn{Name: "cancel"}).
		If(coord.Present(task)).Then(coord.Put(cancel, named("by")).Witness()))
	require.NoError(t, err)
	kv, err := w.store.Get(t.Context(), cancel)
	require.NoError(t, err)
	require.Equal(t, rev, kv.Mod)
	require.Less(t, kv.Create, rev)
}

func TestAnotherAttemptWithTheSameContentIsNotOwn(t *testing.T) {
	w := newWorld(t)
	key := w.keys.Task("t1")
	w.create(t, key, "same")
	_, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "admit"}).
		If(coord.Absent(key)).Then(coord.Put(key, named("same")).Witness()))
	var conflict *coord.ConflictError
	require.ErrorAs(t, err, &conflict)
}

func TestRefusalAfterALostAnswerIsCertainOnlyWithProof(t *testing.T) {
	for name, c := range map[string]struct {
		refuse  bool // the first try never arrived
		other   bool // what changes in between is another guarded key
		unknown bool
	}{
		"it happened and was written over":         {unknown: true},
		"it never happened, and cannot be told":    {refuse: true, unknown: true},
		"it never happened: its own key unchanged": {refuse: true, other: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			own, other := w.keys.Task("t1"), w.keys.Host("h1")
			mod := w.create(t, own, "before")
			guard := w.create(t, other, "before")
			s, d := w.deafStore(t, 1)
			d.refuse = c.refuse
			changed := own
			if c.other {
				changed = other
			}
			d.between = func() {
				_, err := w.client.Put(t.Context(), changed, `{"schema":1,"name":"somebody else"}`)
				require.NoError(t, err)
			}
			_, err := s.Commit(within(t), new(coord.Txn{Name: "finish"}).
				If(coord.Unchanged(own, mod), coord.Unchanged(other, guard)).
				Then(coord.Put(own, named("after")).Witness()))
			conflict, refused := errors.AsType[*coord.ConflictError](err)
			require.Equal(t, c.unknown, !refused)
			if c.unknown {
				require.ErrorIs(t, err, coord.ErrUnknown)
				require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(err))
				return
			}
			require.Equal(t, []string{other}, conflict.Failed)
		})
	}
}

func TestLostAnswerWhenTheContextEndsIsUnknownThoughItHappened(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	s := coord.NewStore(coord.Config{Client: client, Keys: w.keys, Timeout: 30 * time.Second})
	_, err := s.Get(t.Context(), w.keys.Store())
	require.ErrorIs(t, err, coord.ErrNotFound, "connected")

	proxy.Set(netfault.Mute)
	ctx, cancel := context.WithCancel(t.Context())
	key := w.keys.Task("t1")
	failed := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx, new(coord.Txn{Name: "admit"}).
			If(coord.Absent(key)).Then(coord.Put(key, named("mine")).Witness()))
		failed <- err
	}()
	eventually(t, "it happens", func() bool { return w.name(t, key) == "mine" })
	cancel()
	err = <-failed
	require.ErrorIs(t, err, coord.ErrUnknown)
	require.ErrorContains(t, err, "cannot admit")
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(err))
}

func TestAnswerLostOnTheWayIsRecognised(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	s := coord.NewStore(coord.Config{Client: client, Keys: w.keys})
	_, err := s.Get(t.Context(), w.keys.Store())
	require.ErrorIs(t, err, coord.ErrNotFound, "connected")

	proxy.Set(netfault.Mute)
	type result struct {
		rev int64
		err error
	}
	key, done := w.keys.Task("t1"), make(chan result, 1)
	go func() {
		rev, err := s.Commit(within(t), new(coord.Txn{Name: "admit"}).
			If(coord.Absent(key)).Then(coord.Put(key, named("mine")).Witness()))
		done <- result{rev, err}
	}()
	eventually(t, "it happens", func() bool { return w.name(t, key) == "mine" })
	proxy.Set(netfault.Cut)
	proxy.Set(netfault.Pass)
	got := <-done
	require.NoError(t, got.err)
	kv, err := w.store.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, kv.Create, got.rev)
	require.Equal(t, kv.Mod, got.rev)
}

// Counters that many writers raise through a store that loses every other answer come out right. P1
func TestConcurrentWritersWithLostAnswersNeverWriteTwice(t *testing.T) {
	w := newWorld(t)
	key := w.keys.Instance("i1")
	w.create(t, key, "counter")
	const writers, each = 4, 15
	var raised, unknown atomic.Int64
	var all sync.WaitGroup
	for range writers {
		s, d := w.deafStore(t, 0)
		all.Go(func() {
			for done := 0; done < each; {
				kv, err := w.store.Get(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				var r record
				if err := kv.Decode(&r); err != nil {
					t.Error(err)
					return
				}
				r.Count++
				d.lose.Store(int64(done % 2))
				_, err = s.Commit(t.Context(), new(coord.Txn{Name: "raise"}).
					If(coord.Unchanged(key, kv.Mod)).Then(coord.Put(key, r).Witness()))
				switch _, conflict := errors.AsType[*coord.ConflictError](err); {
				case err == nil:
					raised.Add(1)
					done++
				case errors.Is(err, coord.ErrUnknown):
					unknown.Add(1)
					done++
				case !conflict:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	kv, err := w.store.Get(t.Context(), key)
	require.NoError(t, err)
	var r record
	require.NoError(t, kv.Decode(&r))
	require.GreaterOrEqual(t, int64(r.Count), raised.Load(), "every success happened")
	require.LessOrEqual(t, int64(r.Count), raised.Load()+unknown.Load(), "and nothing happened twice")
}

func TestReadsSayWhenTheStoreDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	client, proxy := w.proxied(t)
	s := coord.NewStore(coord.Config{Client: client, Keys: w.keys, Timeout: 200 * time.Millisecond})
	proxy.Set(netfault.BlackHole)
	_, err := s.Get(t.Context(), w.keys.Store())
	require.ErrorIs(t, err, coord.ErrUnavailable)
	require.NotErrorIs(t, err, coord.ErrNotFound)
	_, err = s.List(t.Context(), w.keys.Root(), "", 0, false)
	require.ErrorIs(t, err, coord.ErrUnavailable)
	_, err = s.Count(t.Context(), w.keys.Root())
	require.ErrorIs(t, err, coord.ErrUnavailable)
	require.Equal(t, vm.ReasonStoreUnavailable, vm.ReasonOf(err))
}

func TestListPages(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.create(t, w.keys.Flavor(name), name)
	}
	w.create(t, w.keys.Host("h"), "h")
	prefix := w.keys.Table(coord.Flavors)
	for name, c := range map[string]struct {
		after   string
		limit   int64
		reverse bool
		want    string
		more    bool
	}{
		"all":                  {want: "abcde"},
		"all in reverse":       {reverse: true, want: "edcba"},
		"first page":           {limit: 2, want: "ab", more: true},
		"next page":            {limit: 2, after: "b", want: "cd", more: true},
		"last page":            {limit: 2, after: "d", want: "e"},
		"behind the last":      {limit: 2, after: "e"},
		"after a missing key":  {after: "bb", want: "cde"},
		"first of the reverse": {limit: 2, reverse: true, want: "ed", more: true},
		"last of the reverse":  {limit: 2, reverse: true, after: "b", want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			after := c.after
			if after != "" {
				after = prefix + after
			}
			page, err := w.store.List(t.Context(), prefix, after, c.limit, c.reverse)
			require.NoError(t, err)
			got := ""
			for _, kv := range page.KVs {
				got += kv.Key[len(prefix):]
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.more, page.More)
			require.Positive(t, page.Revision)
		})
	}
	_, err := w.store.List(t.Context(), prefix, "/elsewhere", 0, false)
	require.ErrorContains(t, err, "internal error")

	n, err := w.store.Count(t.Context(), prefix)
	require.NoError(t, err)
	require.Equal(t, int64(5), n)
	n, err = w.store.Count(t.Context(), prefix+"x")
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestDecodeRefusesANewerSchema(t *testing.T) {
	for value, want := range map[string]struct {
		name string
		err  error
	}{
		`{"schema":1,"name":"a"}`:                        {name: "a"},
		`{"schema": 1, "name":"edited by hand"}`:         {name: "edited by hand"},
		`{"name":"older than schemas"}`:                  {name: "older than schemas"},
		`{"schema":1,"name":"a","later":"and optional"}`: {name: "a"},
		`{"schema":2,"name":"a"}`:                        {err: coord.ErrSchema},
		`{"schema":10,"name":["other","shape"]}`:         {err: coord.ErrSchema},
		`{"name":"a","schema":2}`:                        {err: coord.ErrSchema},
	} {
		var r record
		err := coord.KV{Key: "k", Value: []byte(value)}.Decode(&r)
		require.ErrorIs(t, err, want.err, value)
		require.Equal(t, want.name, r.Name, value)
	}
	for _, value := range []string{"", "null x", "[]", `{"schema":1,"name":7}`, `{"schema":1,`} {
		err := coord.KV{Key: "k", Value: []byte(value)}.Decode(new(record))
		require.ErrorContains(t, err, "cannot read k", value)
		require.NotErrorIs(t, err, coord.ErrSchema)
	}
}

// observer keeps what it is told.
type observer struct {
	mu   sync.Mutex
	told []string
}

func (o *observer) Committed(txn string, _ time.Duration, writes, bytes int, err error) {
	o.tell(fmt.Sprintf("%s writes=%d bytes=%v failed=%v", txn, writes, bytes > 0, err != nil))
}

func (o *observer) Read(what string, _ time.Duration, err error) {
	o.tell(fmt.Sprintf("read %s failed=%v", what, err != nil))
}

func (o *observer) tell(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, s)
}

func TestTransactionsAreObservedAndHavePoints(t *testing.T) {
	w := newWorld(t)
	o, points := new(observer), []string{}
	s := coord.NewStore(coord.Config{
		Client: w.client, Keys: w.keys, Observe: o, Point: func(p string) { points = append(points, p) },
	})
	key := w.keys.Task("t1")
	txn := new(coord.Txn{Name: "admit"}).If(coord.Absent(key)).Then(coord.Put(key, named("x")).Witness())
	_, err := s.Commit(t.Context(), txn)
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), txn)
	require.Error(t, err)
	_, err = s.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, []string{"txn:admit:before", "txn:admit:after", "txn:admit:before"}, points)
	require.Equal(t, []string{
		"admit writes=1 bytes=true failed=false", "admit writes=1 bytes=true failed=true", "read tasks failed=false",
	}, o.told)
}
