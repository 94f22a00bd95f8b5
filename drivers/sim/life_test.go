package sim_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/sim"
	"leasehold/vm"
)

func TestTheConsoleTellsABootFromAResume(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	s.Name = "web"
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	require.NoError(t, d.Suspend(t.Context(), s.ID, quiet))
	require.NoError(t, d.Resume(t.Context(), s.ID, quiet))
	require.NoError(t, d.Rescue(t.Context(), s.ID, rescueImage, quiet))
	require.NoError(t, d.Reboot(t.Context(), s.ID, 0, quiet))
	require.NoError(t, d.Unrescue(t.Context(), s.ID, quiet))
	log, err := d.ConsoleLog(t.Context(), s.ID, 1<<10)
	require.NoError(t, err)
	rescued := "SIM-READY web, rescued from rescue\n"
	require.Equal(t, "SIM-READY web\n"+rescued+rescued+"SIM-READY web\n", string(log))
}

func TestASuspendedMachineDoesNotExecute(t *testing.T) {
	world := t.TempDir()
	d := open(t, sim.Config{Dir: t.TempDir(), World: world, Host: "h1"})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	require.NoError(t, d.Suspend(t.Context(), s.ID, quiet))
	require.Empty(t, d.Executions())
	require.NoError(t, d.Resume(t.Context(), s.ID, quiet))
	require.NoError(t, d.Rescue(t.Context(), s.ID, rescueImage, quiet))
	require.NoError(t, d.Rebuild(t.Context(), s, quiet))
	require.Empty(t, d.Executions())
	log, err := sim.ReadWorld(world)
	require.NoError(t, err)
	starts := []bool{}
	for _, e := range log {
		starts = append(starts, e.Starts)
	}
	require.Equal(t, []bool{true, false, true, false}, starts)
}

func TestUnrescueGivesUpNoMemoryOfWhatIsNotRescued(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	counts(t, d, s.ID, 1)
	require.NoError(t, d.Pause(t.Context(), s.ID, quiet))
	require.ErrorContains(t, d.Unrescue(t.Context(), s.ID, quiet), "not rescued")
	require.NoError(t, d.Suspend(t.Context(), s.ID, quiet), "a paused guest can be saved")
	require.ErrorContains(t, d.Unrescue(t.Context(), s.ID, quiet), "not rescued")
	require.NoError(t, d.Resume(t.Context(), s.ID, quiet))
	counts(t, d, s.ID, 2)
}

func TestTheGuestKeepsADigestOfThePassword(t *testing.T) {
	dir := t.TempDir()
	d := open(t, sim.Config{Dir: dir})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	user, digest := d.GuestPassword(s.ID)
	require.Empty(t, user+digest)
	require.NoError(t, d.SetPassword(t.Context(), s.ID, "the admin", "secret", quiet))
	require.NoError(t, d.Close())
	d = open(t, sim.Config{Dir: dir})
	user, digest = d.GuestPassword(s.ID)
	require.Equal(t, "the admin", user)
	require.Len(t, digest, 64)
	require.True(t, d.HasPassword(s.ID, "the admin", "secret"))
	text, err := os.ReadFile(filepath.Join(dir, "machines", string(s.ID)+".json"))
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
	require.NoError(t, d.Rebuild(t.Context(), s, quiet))
	user, _ = d.GuestPassword(s.ID)
	require.Empty(t, user, "it went with the disk")
}

func TestUsageIsTheTimeThatAMachineExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Dir: t.TempDir()})
		s := spec(nil)
		s.Size.VCPUs = 2
		ran := func(want time.Duration) {
			t.Helper()
			all, err := d.Usage(t.Context(), s.ID)
			require.NoError(t, err)
			require.Len(t, all, 2)
			for _, u := range all {
				require.Equal(t, want, u.Run)
				require.Zero(t, u.Wait)
			}
		}
		require.NoError(t, d.Prepare(t.Context(), s, quiet))
		require.NoError(t, d.Start(t.Context(), s.ID, quiet))
		<-time.After(time.Hour) // on the fake clock
		ran(time.Hour)
		require.NoError(t, d.Pause(t.Context(), s.ID, quiet))
		<-time.After(time.Hour)
		ran(time.Hour)
		require.NoError(t, d.Unpause(t.Context(), s.ID, quiet))
		<-time.After(time.Hour)
		ran(2 * time.Hour)
		require.NoError(t, d.Suspend(t.Context(), s.ID, quiet))
		none, err := d.Usage(t.Context(), s.ID)
		require.NoError(t, err)
		require.Empty(t, none)
		require.NoError(t, d.Resume(t.Context(), s.ID, quiet))
		ran(0)
	})
}

// A machine of the time before disks were kept has one all the same.
func TestAnOlderMachineHasADisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, sim.Config{Dir: dir}).Close())
	text := `{"schema":1,"spec":{"id":"old","name":"old","size":{"vcpus":1,"memory_mib":1},` +
		`"image":{"url":"builtin:default"}},"made":true,"spawned":true,"power_state":"running","since":"2026-01-02T03:04:05Z"}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "machines", "old.json"), []byte(text), 0o644))
	d := open(t, sim.Config{Dir: dir})
	require.Equal(t, vm.PowerRunning, power(t, d, "old"))
	require.NoError(t, d.Snapshot(t.Context(), "old", "snap", quiet))
	_, err := d.Export(t.Context(), "old", "snap", quiet)
	require.NoError(t, err)
	require.Equal(t, "image \"builtin:default\"\nmachine old \"old\"\n", image(t, d, "snap"))
}
