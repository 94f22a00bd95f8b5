package coord_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/coord"
	"leasehold/coord/coordtest"
	"leasehold/vm"
)

// Each guard alone, on a key in each condition: x was created at revision create and last changed at mod.
func TestGuards(t *testing.T) {
	w := newWorld(t)
	dir := w.keys.Table(coord.Instances)
	x, missing, empty := dir+"a/x", dir+"a/missing", dir+"b/"
	create := w.create(t, x, "first")
	mod := w.update(t, x, create, "second")
	require.Greater(t, mod, create)
	for name, c := range map[string]struct {
		guard coord.Guard
		holds bool
		there string // what the else branch shows
	}{
		"unchanged":                   {coord.Unchanged(x, mod), true, ""},
		"unchanged since an older":    {coord.Unchanged(x, create), false, "second"},
		"unchanged but missing":       {coord.Unchanged(missing, mod), false, ""},
		"never written":               {coord.Unchanged(missing, 0), true, ""},
		"never written but there":     {coord.Unchanged(x, 0), false, "second"},
		"created at":                  {coord.CreatedAt(x, create), true, ""},
		"created at another":          {coord.CreatedAt(x, mod), false, "second"},
		"created at but missing":      {coord.CreatedAt(missing, create), false, ""},
		"absent":                      {coord.Absent(missing), true, ""},
		"absent but there":            {coord.Absent(x), false, "second"},
		"present":                     {coord.Present(x), true, ""},
		"present but missing":         {coord.Present(missing), false, ""},
		"none under an empty prefix":  {coord.NoneUnder(empty), true, ""},
		"none under but one is there": {coord.NoneUnder(dir + "a/"), false, "second"},
	} {
		t.Run(name, func(t *testing.T) {
			own := dir + "own/" + name
			rev, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "try"}).
				If(c.guard, coord.Absent(own)).Then(coord.Put(own, named("own")).Witness()))
			if c.holds {
				require.NoError(t, err)
				kv, err := w.store.Get(t.Context(), own)
				require.NoError(t, err)
				require.Equal(t, rev, kv.Mod)
				return
			}
			var conflict *coord.ConflictError
			require.ErrorAs(t, err, &conflict)
			require.Equal(t, []string{c.guard.Key()}, conflict.Failed)
			require.Empty(t, w.name(t, own), "nothing was written")
			kv, ok := conflict.Now(c.guard.Key())
			require.Equal(t, c.there != "", ok)
			if ok {
				var r record
				require.NoError(t, kv.Decode(&r))
				require.Equal(t, c.there, r.Name)
				require.Equal(t, []int64{create, mod}, []int64{kv.Create, kv.Mod})
				require.Equal(t, x, kv.Key)
			}
		})
	}
}

func TestRefusalShowsEveryGuardedKey(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.keys.Instance("a"), w.keys.Instance("b"), w.keys.Instance("c")
	ra := w.create(t, a, "a")
	rb := w.create(t, b, "b")
	_, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "try"}).
		If(coord.Unchanged(a, ra), coord.Present(a), coord.Unchanged(b, ra), coord.Present(c)).
		Then(coord.Put(a, named("never")), coord.Put(c, named("never")).Witness()))
	var conflict *coord.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, []string{b, c}, conflict.Failed)
	kv, ok := conflict.Now(a)
	require.True(t, ok)
	require.Equal(t, ra, kv.Mod)
	kv, ok = conflict.Now(b)
	require.True(t, ok)
	require.Equal(t, rb, kv.Mod)
	_, ok = conflict.Now(c)
	require.False(t, ok)
	require.GreaterOrEqual(t, conflict.Revision, rb)
	require.ErrorContains(t, err, "cannot try: changed meanwhile")
}

func TestAllWritesOfATransactionHaveOneRevision(t *testing.T) {
	w := newWorld(t)
	a, b, gone := w.keys.Instance("a"), w.keys.Claim("t"), w.keys.Instance("gone")
	w.create(t, gone, "gone")
	lease := w.lease(t)
	rev, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "all"}).If(coord.Absent(a)).
		Then(coord.Put(a, named("a")).Witness(), coord.PutLeased(b, named("b"), lease), coord.Delete(gone), coord.Delete(gone+"x")))
	require.NoError(t, err)
	page, err := w.store.List(t.Context(), w.keys.Root(), "", 0, false)
	require.NoError(t, err)
	require.Len(t, page.KVs, 2)
	for _, kv := range page.KVs {
		require.Equal(t, rev, kv.Mod)
	}
	require.Equal(t, lease, page.KVs[0].Lease)
	require.Zero(t, page.KVs[1].Lease)
	coordtest.CheckLeases(t, w.client, w.keys)
}

func TestUnknownLeaseWritesNothing(t *testing.T) {
	w := newWorld(t)
	lease := w.lease(t)
	_, err := w.client.Revoke(t.Context(), clientv3.LeaseID(lease))
	require.NoError(t, err)
	a, claim := w.keys.Instance("a"), w.keys.Claim("t")
	_, err = w.store.Commit(t.Context(), new(coord.Txn{Name: "claim"}).If(coord.Absent(claim)).
		Then(coord.Put(a, named("a")).Witness(), coord.PutLeased(claim, named("c"), lease)))
	require.ErrorIs(t, err, coord.ErrLeaseGone)
	require.Empty(t, w.name(t, a))
}

func TestBugsAreRefusedBeforeTheyAreSent(t *testing.T) {
	w := newWorld(t)
	a := w.keys.Instance("a")
	put := coord.Put(a, named("a"))
	for name, c := range map[string]struct {
		txn  *coord.Txn
		says string
	}{
		"no witness":      {new(coord.Txn{}).If(coord.Absent(a)).Then(put), "no witness"},
		"deleted witness": {new(coord.Txn{}).If(coord.CreatedAt(a, 1)).Then(coord.Delete(a).Witness()), "no witness"},
		"key twice":       {new(coord.Txn{}).If(coord.Absent(a)).Then(put.Witness(), put), "twice"},
		"not encodable":   {new(coord.Txn{}).If(coord.Absent(a)).Then(coord.Put(a, func() {}).Witness()), "cannot encode"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.store.Commit(t.Context(), c.txn)
			require.ErrorContains(t, err, "internal error")
			require.ErrorContains(t, err, c.says)
			require.Equal(t, vm.ReasonInternal, vm.ReasonOf(err))
		})
	}
}

func TestTransactionWiderThanEtcdTakesIsRefusedClearly(t *testing.T) {
	w := newWorld(t)
	wide := func(n int) *coord.Txn {
		txn := new(coord.Txn{Name: "wide"})
		for i := range n {
			key := w.keys.Instance(vm.InstanceID(fmt.Sprintf("%d-%d", n, i)))
			write := coord.Put(key, named("x"))
			if i == 0 {
				write = write.Witness()
			}
			txn.If(coord.Absent(key)).Then(write)
		}
		return txn
	}
	_, err := w.store.Commit(t.Context(), wide(coord.MaxOps))
	require.NoError(t, err)
	_, err = w.store.Commit(t.Context(), wide(coord.MaxOps+1))
	var tooWide *coord.TooWideError
	require.ErrorAs(t, err, &tooWide)
	require.Equal(t, 129, tooWide.Ops)
	require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err))
}

// The widest admission there is: an instance with 36 volumes and ports. Each of the 37 resources has its record, lock and
// queue compared; beside them stand key, store, host, allocations, task and claim.
func TestWidestAdmissionFits(t *testing.T) {
	w := newWorld(t)
	lease := w.lease(t)
	store := w.create(t, w.keys.Store(), "store")
	host := w.create(t, w.keys.Host("h1"), "h1")
	allocations := w.create(t, w.keys.Allocations("h1"), "h1")
	txn := new(coord.Txn{Name: "admit"}).
		If(coord.Unchanged(w.keys.Store(), store), coord.Unchanged(w.keys.Host("h1"), host),
			coord.Unchanged(w.keys.Allocations("h1"), allocations), coord.Absent(w.keys.Request("default", "key")),
			coord.Absent(w.keys.Task("t1")), coord.Absent(w.keys.Claim("t1"))).
		Then(coord.Put(w.keys.Task("t1"), named("t1")).Witness(), coord.PutLeased(w.keys.Claim("t1"), named("c1"), lease),
			coord.Put(w.keys.Allocations("h1"), named("h1")), coord.Put(w.keys.Request("default", "key"), named("t1")))
	resources := []vm.Resource{{Kind: vm.KindInstance, ID: "i1"}}
	for i := range 18 {
		resources = append(resources, vm.Resource{Kind: vm.KindVolume, ID: fmt.Sprint("v", i)},
			vm.Resource{Kind: vm.KindPort, ID: fmt.Sprint("p", i)})
	}
	for _, r := range resources {
		mod := w.create(t, w.keys.Record(r), r.ID)
		txn.If(coord.Unchanged(w.keys.Record(r), mod), coord.Absent(w.keys.Lock(r)), coord.NoneUnder(w.keys.QueueOf(r))).
			Then(coord.Put(w.keys.Record(r), named("reserved")), coord.PutLeased(w.keys.Lock(r), named("t1"), lease))
	}
	require.Len(t, txn.Guards, 3*37+6)
	_, err := w.store.Commit(t.Context(), txn)
	require.NoError(t, err)
	coordtest.CheckLeases(t, w.client, w.keys)

	_, err = w.store.Commit(t.Context(), txn)
	var conflict *coord.ConflictError
	require.ErrorAs(t, err, &conflict, "the same request again")
	require.Len(t, conflict.Failed, 2*37+4, "all but the empty queues, store and host")
}
