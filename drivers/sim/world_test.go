package sim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/sim"
	"leasehold/vm"
)

func TestTheWorldSeesAMachineExecuteTwice(t *testing.T) {
	world := t.TempDir()
	one := open(t, sim.Config{Dir: t.TempDir(), World: world, Host: "h1"})
	two := open(t, sim.Config{Dir: t.TempDir(), World: world, Host: "h2"})
	s := spec(nil)
	twice := func() []sim.Execution {
		log, err := sim.ReadWorld(world)
		require.NoError(t, err)
		return sim.Twice(log)
	}
	require.Empty(t, twice())
	require.NoError(t, one.Prepare(t.Context(), s, quiet))
	require.NoError(t, two.Prepare(t.Context(), s, quiet))
	require.NoError(t, one.Start(t.Context(), s.ID, quiet))
	require.NoError(t, one.Pause(t.Context(), s.ID, quiet))
	require.NoError(t, two.Start(t.Context(), s.ID, quiet))
	require.Empty(t, twice(), "paused here, running there: a handover")
	require.NoError(t, one.Unpause(t.Context(), s.ID, quiet))
	bad := twice()
	require.Len(t, bad, 1)
	require.Equal(t, vm.HostName("h1"), bad[0].Host)
	require.Equal(t, s.ID, bad[0].ID)
}

func TestAWorldIsToldByManyHostsAtOnce(t *testing.T) {
	world := t.TempDir()
	var hosts sync.WaitGroup
	for n := range 8 {
		d := open(t, sim.Config{Dir: t.TempDir(), World: world, Host: vm.HostName(fmt.Sprintf("h%d", n))})
		hosts.Go(func() {
			for range 20 {
				s := spec(nil)
				if err := d.Prepare(t.Context(), s, quiet); err != nil {
					t.Error(err)
				}
				if err := d.Start(t.Context(), s.ID, quiet); err != nil {
					t.Error(err)
				}
				if err := d.Destroy(t.Context(), s.ID, quiet); err != nil {
					t.Error(err)
				}
			}
		})
	}
	hosts.Wait()
	log, err := sim.ReadWorld(world)
	require.NoError(t, err)
	require.Len(t, log, 8*20*2)
	require.Empty(t, sim.Twice(log))
}

func TestAWorldNeedsWordsItCanRead(t *testing.T) {
	world := t.TempDir()
	for _, host := range []vm.HostName{"", "h 1", "h\n1"} {
		_, err := sim.New(sim.Config{Dir: t.TempDir(), World: world, Host: host})
		require.Error(t, err)
	}
	for _, line := range []string{"x h1 i1 start", "2026-01-02T03:04:05Z h1 i1", "2026-01-02T03:04:05Z h1 i1 begin"} {
		require.NoError(t, os.WriteFile(filepath.Join(world, "executions"), []byte(line+"\n"), 0o644))
		_, err := sim.ReadWorld(world)
		require.ErrorContains(t, err, "line 1")
	}
}
