package sim_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

func TestPrepareRefusesMetadataItCannotUnderstand(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	for key, value := range map[string]string{
		"sim.latency.spawn": "soon", "sim.latency.start": "-1s", "sim.fail.stop": "yes", "sim.fail.pause": "-1",
		"sim.hang.pause": "maybe", "sim.latency.spwan": "1s", "sim.latency": "1s", "sim.slow.spawn": "1s", "sim.": "",
		"sim.no_agent": "perhaps",
	} {
		s := spec(map[string]string{key: value})
		err := d.Prepare(t.Context(), s, quiet)
		require.ErrorContains(t, err, key+"="+value)
		require.Equal(t, vm.ReasonInvalidArgument, vm.ReasonOf(err))
	}
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list, "what was refused left nothing")
	require.NoError(t, d.Prepare(t.Context(), spec(map[string]string{"sim.no_agent": "true", "other": "x"}), quiet))
}

func TestNewRefusesStepsThatDoNotExist(t *testing.T) {
	for name, cfg := range map[string]sim.Config{
		"latency": {Latency: map[string]time.Duration{"nap": 1}}, "fail": {Fail: map[string]int{"nap": 1}},
		"hang": {Hang: map[string]bool{"nap": true}},
	} {
		cfg.Dir = t.TempDir()
		_, err := sim.New(cfg)
		require.ErrorContains(t, err, `"nap"`, name)
	}
}

func TestEachStepTakesItsLatencyAndReportsIt(t *testing.T) {
	verbs := []struct {
		step string
		call func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error
	}{
		{"image disk network volume", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Prepare(ctx, s, r)
		}},
		{"spawn", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Start(ctx, s.ID, r)
		}},
		{"pause", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Pause(ctx, s.ID, r)
		}},
		{"unpause", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Unpause(ctx, s.ID, r)
		}},
		{"reboot", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Reboot(ctx, s.ID, 0, r)
		}},
		{"stop", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Stop(ctx, s.ID, 0, r)
		}},
		{"start", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Start(ctx, s.ID, r)
		}},
		{"suspend", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Suspend(ctx, s.ID, r)
		}},
		{"resume", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Resume(ctx, s.ID, r)
		}},
		{"password", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.SetPassword(ctx, s.ID, "root", "x", r)
		}},
		{"image disk rescue", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Rescue(ctx, s.ID, rescueImage, r)
		}},
		{"unrescue", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Unrescue(ctx, s.ID, r)
		}},
		{"snapshot", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Snapshot(ctx, s.ID, "snap", r)
		}},
		{"upload", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			_, err := d.Export(ctx, s.ID, "snap", r)
			return err
		}},
		{"image disk rebuild", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Rebuild(ctx, s, r)
		}},
		{"destroy", func(ctx context.Context, d *sim.Driver, s drivers.Spec, r drivers.Report) error {
			return d.Destroy(ctx, s.ID, r)
		}},
	}
	bytes := map[string]int64{"suspend": 128 << 20, "resume": 128 << 20, "snapshot": 1 << 30, "upload": 1 << 30}
	host := map[string]time.Duration{}
	for _, step := range sim.Steps() {
		host[step] = 3 * time.Second
	}
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Dir: t.TempDir(), Latency: host})
		s := spec(map[string]string{"sim.latency.reboot": "30s", "sim.latency.unpause": "0s"})
		for _, v := range verbs {
			want := map[string]time.Duration{
				"image disk network volume": 12 * time.Second, "reboot": 30 * time.Second, "unpause": 0,
				"image disk rescue": 9 * time.Second, "image disk rebuild": 9 * time.Second,
			}
			took, ok := want[v.step]
			if !ok {
				took = 3 * time.Second
			}
			began, last, phases := time.Now(), time.Now(), ""
			require.NoError(t, v.call(t.Context(), d, s, func(p vm.Progress) {
				require.LessOrEqual(t, time.Since(last), time.Second, "silence means stuck")
				require.LessOrEqual(t, p.Done, p.Total)
				if total, ok := bytes[v.step]; ok {
					require.Equal(t, "bytes", p.Unit)
					require.Equal(t, total, p.Total)
				}
				last = time.Now()
				if p.Done == 0 {
					phases += " " + p.Phase
				}
			}), v.step)
			require.Equal(t, took, time.Since(began), v.step)
			if took > 0 {
				require.Equal(t, " "+v.step, phases)
			}
		}
	})
}

func TestAFailureIsCountedBeyondRestartAndDestroy(t *testing.T) {
	dir := t.TempDir()
	s := spec(map[string]string{"sim.fail.spawn": "2"})
	d := open(t, sim.Config{Dir: dir})
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	err := d.Start(t.Context(), s.ID, quiet)
	require.ErrorContains(t, err, "spawn was told to fail")
	require.Equal(t, vm.ReasonDriver, vm.ReasonOf(err))
	require.Equal(t, vm.PowerShutdown, power(t, d, s.ID), "a failed step changes nothing")
	require.NoError(t, d.Close())

	d = open(t, sim.Config{Dir: dir})
	require.NoError(t, d.Destroy(t.Context(), s.ID, quiet))
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.Error(t, d.Start(t.Context(), s.ID, quiet), "the second of two")
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	require.NoError(t, d.Stop(t.Context(), s.ID, 0, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet), "the step is start now")
}

func TestAFailureIsCountedOnceInAWorld(t *testing.T) {
	world := t.TempDir()
	s := spec(map[string]string{"sim.fail.image": "1"})
	one := open(t, sim.Config{Dir: t.TempDir(), World: world, Host: "h1"})
	two := open(t, sim.Config{Dir: t.TempDir(), World: world, Host: "h2"})
	require.Error(t, one.Prepare(t.Context(), s, quiet))
	m, err := one.Inspect(t.Context(), s.ID)
	require.NoError(t, err)
	require.True(t, m.Exists, "half-made is there to be found")
	require.ErrorIs(t, one.Start(t.Context(), s.ID, quiet), drivers.ErrNoMachine)
	require.NoError(t, two.Prepare(t.Context(), s, quiet))
}

func TestAHangReportsNothingAndEndsByInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sim.Config{Dir: t.TempDir(), Hang: map[string]bool{"stop": true}})
		s := spec(map[string]string{"sim.hang.pause": "true", "sim.latency.pause": "5s"})
		require.NoError(t, d.Prepare(t.Context(), s, quiet))
		require.NoError(t, d.Start(t.Context(), s.ID, quiet))
		loud := func(vm.Progress) { t.Error("a hang reports nothing") }
		result := make(chan error, 2)
		go func() { result <- d.Pause(t.Context(), s.ID, loud) }()
		go func() { result <- d.Stop(t.Context(), s.ID, 0, loud) }()
		<-time.After(time.Hour) // on the fake clock
		require.Empty(t, result)
		require.Equal(t, vm.PowerRunning, power(t, d, s.ID))
		require.NoError(t, d.Interrupt(t.Context(), s.ID, false))
		require.ErrorContains(t, <-result, "interrupted")
		require.ErrorContains(t, <-result, "interrupted")
		require.Equal(t, vm.PowerRunning, power(t, d, s.ID))
		require.NoError(t, d.Interrupt(t.Context(), s.ID, true))
		require.Equal(t, vm.PowerCrashed, power(t, d, s.ID))
	})
}

// Each of the newer steps fails and hangs as the older ones do, and leaves the machine as it was.
func TestAStepThatFailsOrHangsChangesNothing(t *testing.T) {
	verbs := map[string]func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error{
		"suspend": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error { return d.Suspend(ctx, id, quiet) },
		"resume":  func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error { return d.Resume(ctx, id, quiet) },
		"rescue": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error {
			return d.Rescue(ctx, id, rescueImage, quiet)
		},
		"unrescue": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error {
			return d.Unrescue(ctx, id, quiet)
		},
		"rebuild": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error {
			s := spec(map[string]string{"sim.fail.rebuild": "1"})
			s.ID = id
			return d.Rebuild(ctx, s, quiet)
		},
		"snapshot": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error {
			return d.Snapshot(ctx, id, "snap", quiet)
		},
		"upload": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error {
			_, err := d.Export(ctx, id, "before", quiet)
			return err
		},
		"password": func(ctx context.Context, d *sim.Driver, id vm.InstanceID) error {
			return d.SetPassword(ctx, id, "root", "x", quiet)
		},
	}
	for step, call := range verbs {
		t.Run(step, func(t *testing.T) {
			d := open(t, sim.Config{Dir: t.TempDir()})
			s := spec(map[string]string{"sim.fail." + step: "1"})
			require.NoError(t, d.Prepare(t.Context(), s, quiet))
			require.NoError(t, d.Start(t.Context(), s.ID, quiet))
			switch step {
			case "unrescue":
				require.NoError(t, d.Rescue(t.Context(), s.ID, rescueImage, quiet))
			case "upload":
				require.NoError(t, d.Snapshot(t.Context(), s.ID, "before", quiet))
			case "resume":
				require.NoError(t, d.Suspend(t.Context(), s.ID, quiet))
			}
			was, err := d.Inspect(t.Context(), s.ID)
			require.NoError(t, err)
			images, err := d.Images(t.Context())
			require.NoError(t, err)
			unchanged := func() {
				t.Helper()
				is, err := d.Inspect(t.Context(), s.ID)
				require.NoError(t, err)
				require.Equal(t, was, is)
				left, err := d.Images(t.Context())
				require.NoError(t, err)
				require.Equal(t, images, left)
				require.False(t, d.HasPassword(s.ID, "root", "x"))
			}
			require.ErrorContains(t, call(t.Context(), d, s.ID), step+" was told to fail")
			unchanged()
			require.NoError(t, d.Hang(s.ID, step))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, call(ctx, d, s.ID), context.DeadlineExceeded)
			unchanged()
		})
	}
}
