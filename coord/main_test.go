package coord_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/internal/netfault"
)

// soon is how long a test waits for what should take a moment.
const soon = 30 * time.Second

type run func() int

func (r run) Run() int { return r() }

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(run(func() int { return coordtest.Main(m) }))
}

// record is what the tests store.
type record struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	Count  int    `json:"count,omitempty"`
}

func named(name string) record { return record{Schema: 1, Name: name} }

// world is one store with what every test needs of it.
type world struct {
	server *coordtest.Server
	client *clientv3.Client
	keys   coord.Keys
	store  *coord.Store
}

func newWorld(t *testing.T) world {
	t.Helper()
	s := coordtest.Shared(t)
	w := world{server: s, client: s.Client(t), keys: s.Keys(t)}
	w.store = coord.NewStore(coord.Config{Client: w.client, Keys: w.keys})
	return w
}

// proxied is a client that reaches the store through a proxy.
func (w world) proxied(t *testing.T) (*clientv3.Client, *netfault.Proxy) {
	t.Helper()
	p, err := netfault.New(strings.TrimPrefix(w.server.Endpoint, "http://"))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	c, err := coord.Dial([]string{"http://" + p.Addr()}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, p
}

// create puts a new record and returns its revision.
func (w world) create(t *testing.T, key, name string) int64 {
	t.Helper()
	rev, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "create"}).
		If(coord.Absent(key)).Then(coord.Put(key, named(name)).Witness()))
	require.NoError(t, err)
	return rev
}

// update rewrites a record unchanged since mod.
func (w world) update(t *testing.T, key string, mod int64, name string) int64 {
	t.Helper()
	rev, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "update"}).
		If(coord.Unchanged(key, mod)).Then(coord.Put(key, named(name)).Witness()))
	require.NoError(t, err)
	return rev
}

// remove deletes a key behind the store's back.
func (w world) remove(t *testing.T, key string) int64 {
	t.Helper()
	resp, err := w.client.Delete(t.Context(), key)
	require.NoError(t, err)
	return resp.Header.Revision
}

// name reads a record from etcd; empty when there is none.
func (w world) name(t *testing.T, key string) string {
	t.Helper()
	kv, err := w.store.Get(t.Context(), key)
	if err != nil {
		require.ErrorIs(t, err, coord.ErrNotFound)
		return ""
	}
	var r record
	require.NoError(t, kv.Decode(&r))
	return r.Name
}

func (w world) lease(t *testing.T) int64 {
	t.Helper()
	l, err := w.client.Grant(t.Context(), 60)
	require.NoError(t, err)
	return int64(l.ID)
}

func newCache(c *clientv3.Client, keys coord.Keys) *coord.Cache {
	return coord.NewCache(c, keys, hclog.NewNullLogger())
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, soon, 5*time.Millisecond, what)
}

// within is a context that ends when a test has waited long enough.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return ctx
}
