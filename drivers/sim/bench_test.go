package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/sim"
)

// BenchmarkLife is prepare, start, stop and destroy of one machine: six writes.
func BenchmarkLife(b *testing.B) {
	d, err := sim.New(sim.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	defer func() { require.NoError(b, d.Close()) }()
	for b.Loop() {
		s := spec(nil)
		require.NoError(b, d.Prepare(b.Context(), s, quiet))
		require.NoError(b, d.Start(b.Context(), s.ID, quiet))
		require.NoError(b, d.Stop(b.Context(), s.ID, 0, quiet))
		require.NoError(b, d.Destroy(b.Context(), s.ID, quiet))
	}
}

func BenchmarkInspect(b *testing.B) {
	d, err := sim.New(sim.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	defer func() { require.NoError(b, d.Close()) }()
	s := spec(nil)
	require.NoError(b, d.Prepare(b.Context(), s, quiet))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = d.Inspect(b.Context(), s.ID)
		}
	})
}
