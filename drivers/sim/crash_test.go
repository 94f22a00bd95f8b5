package sim_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

// TestACrashAtAnyPointIsMadeGoodByTheSuccessor ends the agent right before and right after each change, and lets a
// successor repeat the call (I1, I4). The world must never see the machine twice, nor see it execute after its end.
func TestACrashAtAnyPointIsMadeGoodByTheSuccessor(t *testing.T) {
	s := spec(nil)
	rescue := drivers.Image{ID: "rescue", Name: "rescue", URL: "builtin:rescue"}
	life := []struct {
		call func(ctx context.Context, d *sim.Driver) error
		want vm.PowerState
	}{
		{func(ctx context.Context, d *sim.Driver) error { return d.Prepare(ctx, s, quiet) }, vm.PowerShutdown},
		{func(ctx context.Context, d *sim.Driver) error { return d.Start(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Pause(ctx, s.ID, quiet) }, vm.PowerPaused},
		{func(ctx context.Context, d *sim.Driver) error { return d.Unpause(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Reboot(ctx, s.ID, 0, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Interrupt(ctx, s.ID, true) }, vm.PowerCrashed},
		{func(ctx context.Context, d *sim.Driver) error { return d.Start(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Stop(ctx, s.ID, 0, quiet) }, vm.PowerShutdown},
		{func(ctx context.Context, d *sim.Driver) error { return d.Start(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Suspend(ctx, s.ID, quiet) }, vm.PowerSuspended},
		{func(ctx context.Context, d *sim.Driver) error { return d.Resume(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.SetPassword(ctx, s.ID, "root", "x", quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Rescue(ctx, s.ID, rescue, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Unrescue(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Snapshot(ctx, s.ID, "snap", quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error {
			_, err := d.Export(ctx, s.ID, "snap", quiet)
			return err
		}, vm.PowerRunning},
		{func(_ context.Context, d *sim.Driver) error { return d.DropImage(t.Context(), "snap") }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Rebuild(ctx, s, quiet) }, vm.PowerShutdown},
		{func(ctx context.Context, d *sim.Driver) error { return d.Start(ctx, s.ID, quiet) }, vm.PowerRunning},
		{func(ctx context.Context, d *sim.Driver) error { return d.Destroy(ctx, s.ID, quiet) }, vm.PowerNoState},
	}
	ofTheAgent := slices.DeleteFunc(sim.Changes(), func(c string) bool { return c == "guest" || c == "console" })
	for _, change := range ofTheAgent {
		for _, moment := range []string{":before", ":after"} {
			t.Run(change+moment, func(t *testing.T) {
				dir, world := t.TempDir(), t.TempDir()
				crashed := false
				d := open(t, sim.Config{Dir: dir, World: world, Host: "h1", Point: func(name string) {
					if name == change+moment && !crashed {
						crashed = true
						runtime.Goexit()
					}
				}})
				for _, v := range life {
					died, err := survives(func() error { return v.call(t.Context(), d) })
					if died {
						d = open(t, sim.Config{Dir: dir, World: world, Host: "h1"})
						err = v.call(t.Context(), d)
					}
					require.NoError(t, err)
					require.Equal(t, v.want, power(t, d, s.ID))
					require.Len(t, d.Executions(), map[bool]int{true: 1}[v.want == vm.PowerRunning])
				}
				require.True(t, crashed, "the point was never reached")
				log, err := sim.ReadWorld(world)
				require.NoError(t, err)
				require.Empty(t, sim.Twice(log))
				require.False(t, log[len(log)-1].Starts, "it executes after its end")
				left, err := os.ReadDir(filepath.Join(dir, "machines"))
				require.NoError(t, err)
				require.Empty(t, left, "nothing is left (P6)")
			})
		}
	}
}

// survives makes a call in a goroutine of its own, which a crash may end.
func survives(call func() error) (died bool, err error) {
	done := make(chan struct{})
	died = true
	go func() {
		defer close(done)
		err = call()
		died = false
	}()
	<-done
	return died, err
}

func TestWhatACrashLeftUnfinishedIsRemoved(t *testing.T) {
	dir := t.TempDir()
	s := spec(nil)
	d := open(t, sim.Config{Dir: dir})
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Close())
	temp := filepath.Join(dir, "machines", "."+string(s.ID)+".tmp")
	require.NoError(t, os.WriteFile(temp, []byte(`{"sch`), 0o644))

	d = open(t, sim.Config{Dir: dir})
	require.Equal(t, vm.PowerShutdown, power(t, d, s.ID))
	require.NoFileExists(t, temp)
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestFilesThatAreNoMachinesAreShownAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, sim.Config{Dir: dir}).Close())
	for name, text := range map[string]string{
		"notes.txt": "x", "a.json": "", "b.json": `{"schema":99,"spec":{"id":"b"}}`, "c.json": `{"schema":1,"spec":{"id":"d"}}`,
		"e.json": `{"schema":1,"spec":{"id":"e"},"power_state":"blocked"}`,
		"f.json": `{"schema":1,"spec":{"id":"f","metadata":{"sim.x":"y"}},"power_state":"running"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "machines", name), []byte(text), 0o644))
	}
	d := open(t, sim.Config{Dir: dir})
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 6)
	for _, m := range list {
		require.True(t, m.Unknown, m.ID)
		require.NotEmpty(t, m.Detail, m.ID)
		s := spec(nil)
		s.ID = m.ID
		require.Error(t, d.Prepare(t.Context(), s, quiet))
		require.Error(t, d.Start(t.Context(), m.ID, quiet))
		require.Error(t, d.Stop(t.Context(), m.ID, 0, quiet))
		require.Error(t, d.Destroy(t.Context(), m.ID, quiet))
		require.NoError(t, d.Interrupt(t.Context(), m.ID, true))
	}
	require.NoError(t, d.PowerLoss())
	require.Empty(t, d.Executions())
	files, err := os.ReadDir(filepath.Join(dir, "machines"))
	require.NoError(t, err)
	require.Len(t, files, 6)
}

func TestAClosedDriverChangesNothing(t *testing.T) {
	dir := t.TempDir()
	s := spec(map[string]string{"sim.hang.pause": "true"})
	d := open(t, sim.Config{Dir: dir})
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	events := d.Events(t.Context())
	result := make(chan error, 1)
	go func() { result <- d.Pause(t.Context(), s.ID, quiet) }()
	require.NoError(t, d.Close())
	require.ErrorContains(t, <-result, "the driver is closed")
	_, open := <-events
	require.False(t, open)
	require.Error(t, d.Stop(t.Context(), s.ID, 0, quiet))
	require.Error(t, d.GuestCrash(s.ID))
	require.Error(t, d.Prepare(t.Context(), spec(nil), quiet))
	_, err := d.Console(t.Context(), s.ID)
	require.Error(t, err)
	require.Equal(t, vm.PowerRunning, power(t, d, s.ID))
}

func TestPowerLossEndsEveryMachine(t *testing.T) {
	dir := t.TempDir()
	running, paused, off := spec(nil), spec(nil), spec(nil)
	d := open(t, sim.Config{Dir: dir})
	for _, s := range []drivers.Spec{running, paused, off} {
		require.NoError(t, d.Prepare(t.Context(), s, quiet))
	}
	require.NoError(t, d.Start(t.Context(), running.ID, quiet))
	require.NoError(t, d.Start(t.Context(), paused.ID, quiet))
	require.NoError(t, d.Pause(t.Context(), paused.ID, quiet))
	require.NoError(t, d.PowerLoss())
	require.NoError(t, d.Close())
	d = open(t, sim.Config{Dir: dir})
	require.Equal(t, vm.PowerCrashed, power(t, d, running.ID))
	require.Equal(t, vm.PowerCrashed, power(t, d, paused.ID))
	require.Equal(t, vm.PowerShutdown, power(t, d, off.ID))
	require.Error(t, d.Reboot(t.Context(), running.ID, 1, quiet), "a crashed guest cannot be asked")
	require.Error(t, d.Reboot(t.Context(), off.ID, 0, quiet), "what is off is started")
}
