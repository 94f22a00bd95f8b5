package sim_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/sim"
)

func TestASlowReceiverLearnsThatEventsWereLost(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	shutdown := func() {
		require.NoError(t, d.Start(t.Context(), s.ID, quiet))
		require.NoError(t, d.GuestShutdown(s.ID))
	}
	slow := d.Events(t.Context())
	for range 70 {
		shutdown()
	}
	for range 64 {
		require.False(t, (<-slow).Lost)
	}
	require.Empty(t, slow)
	shutdown()
	shutdown()
	require.True(t, (<-slow).Lost)
	require.False(t, (<-slow).Lost)
}

func TestOnlyAnExecutingGuestEndsByItself(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	require.ErrorIs(t, d.GuestCrash(s.ID), drivers.ErrNoMachine)
	require.ErrorIs(t, d.Hang(s.ID, "pause"), drivers.ErrNoMachine)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.Error(t, d.GuestShutdown(s.ID))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	require.NoError(t, d.Pause(t.Context(), s.ID, quiet))
	require.Error(t, d.GuestShutdown(s.ID))
}

func TestAConsoleEndsWithItsGuest(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	_, err := d.Console(t.Context(), s.ID)
	require.ErrorContains(t, err, "shutdown")
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	one, err := d.Console(t.Context(), s.ID)
	require.NoError(t, err)
	two, err := d.Console(t.Context(), s.ID)
	require.NoError(t, err)
	_, err = io.WriteString(one, "polo\n")
	require.NoError(t, err)
	require.NoError(t, d.Pause(t.Context(), s.ID, quiet))
	_, err = io.WriteString(one, "not heard\n")
	require.NoError(t, err)
	require.NoError(t, d.Reboot(t.Context(), s.ID, 0, quiet))
	require.NoError(t, d.Destroy(t.Context(), s.ID, quiet))
	greeting := "SIM-READY " + s.Name + "\n"
	for _, line := range []io.ReadWriteCloser{one, two} {
		all, err := io.ReadAll(line)
		require.NoError(t, err)
		require.Equal(t, greeting+"polo\n"+greeting, string(all))
		_, err = line.Write([]byte("x"))
		require.Error(t, err)
	}
}

func TestTheConsoleLogKeepsTheLastOfAllStarts(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	line, err := d.Console(t.Context(), s.ID)
	require.NoError(t, err)
	for range 10 {
		_, err = io.WriteString(line, strings.Repeat("a", 1000))
		require.NoError(t, err)
	}
	require.NoError(t, d.Stop(t.Context(), s.ID, 0, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	log, err := d.ConsoleLog(t.Context(), s.ID, 1<<20)
	require.NoError(t, err)
	require.Len(t, log, 4096)
	require.True(t, strings.HasSuffix(string(log), "aSIM-READY "+s.Name+"\n"))
}
