package coord_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/coord"
)

// What a list has shown is all there is, as long as nothing newer was created; what was there may change.
func TestNoneNewerHoldsUntilSomethingIsCreated(t *testing.T) {
	w := newWorld(t)
	dir := w.keys.Table(coord.Instances)
	key := w.keys.Table(coord.Images) + "one"
	try := func(rev int64) error {
		_, err := w.store.Commit(t.Context(), new(coord.Txn{Name: "try"}).
			If(coord.NoneNewer(dir, rev), coord.Absent(key)).Then(coord.Put(key, named("own")).Witness()))
		if err == nil {
			w.remove(t, key)
		}
		return err
	}
	require.NoError(t, try(1), "there is nothing")
	create := w.create(t, dir+"a", "first")
	require.NoError(t, try(create))
	w.update(t, dir+"a", create, "second")
	require.NoError(t, try(create), "a change creates nothing")
	var conflict *coord.ConflictError
	require.ErrorAs(t, try(create-1), &conflict)
	require.Equal(t, []string{dir}, conflict.Failed)
	w.create(t, dir+"b", "newer")
	require.ErrorAs(t, try(create), &conflict)
	kv, ok := conflict.Now(dir)
	require.True(t, ok)
	require.Equal(t, dir+"b", kv.Key, "the newest is shown")
}
