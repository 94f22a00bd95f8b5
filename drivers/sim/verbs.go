package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// Prepare makes the machine, half first, so that a crash or a failure leaves something to be found. Metadata that cannot
// be understood is refused before anything is made.
func (d *Driver) Prepare(ctx context.Context, spec drivers.Spec, report drivers.Report) error {
	return d.run(ctx, "prepare", spec.ID, report, func(ctx context.Context, c *call) error {
		f, err := check(spec)
		if err != nil {
			return err
		}
		m := d.place(spec.ID)
		defer d.vacate(m)
		if r, err := m.copied(); err != nil || r.Made {
			return err
		}
		if err := d.change(ctx, m, "intend", func(r *record) (verdict, error) {
			*r = record{Schema: vm.Schema, Spec: spec, faults: f}
			r.enter(vm.PowerNoState, "half-made")
			return changes, nil
		}); err != nil {
			return err
		}
		for _, step := range []string{"image", "disk", "network", "volume"} {
			if err := c.step(ctx, m, f, step); err != nil {
				return err
			}
			if step == "image" {
				if err := d.usable(spec.Image); err != nil {
					return err
				}
			}
		}
		return d.change(ctx, m, "prepare", func(r *record) (verdict, error) {
			if !r.exists() {
				return already, drivers.ErrNoMachine
			}
			r.Made, r.Disk = true, d.content(spec.Image)
			r.enter(vm.PowerShutdown, "")
			return changes, nil
		})
	})
}

// check refuses what no host could make: the id is a file's name, and a machine has some of everything.
func check(spec drivers.Spec) (faults, error) {
	odd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c)
	}
	id := string(spec.ID)
	if id == "" || len(id) > 128 || id[0] == '.' || strings.ContainsFunc(id, odd) {
		return faults{}, vm.Refuse(vm.ReasonInvalidArgument, "the id %q is not a name", id)
	}
	if spec.Size.VCPUs < 1 || spec.Size.MemoryMiB < 1 || spec.Size.DiskGiB < 0 {
		return faults{}, vm.Refuse(vm.ReasonInvalidArgument, "a machine cannot have %d vCPU, %d MiB and %d GiB",
			spec.Size.VCPUs, spec.Size.MemoryMiB, spec.Size.DiskGiB)
	}
	return parseFaults(spec.Metadata)
}

// usable says whether a real driver would know where to get the image. Nothing is fetched.
func usable(image drivers.Image) error {
	scheme, rest, _ := strings.Cut(image.URL, ":")
	if !slices.Contains([]string{"builtin", "file", "http", "https"}, scheme) || rest == "" {
		return fmt.Errorf("%w: %q names neither a builtin nor a file, http or https", drivers.ErrBadImage, image.URL)
	}
	return nil
}

// Start lets the machine execute; a paused one goes on.
func (d *Driver) Start(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	step := func(r *record) string {
		if r.Spawned {
			return "start"
		}
		return "spawn"
	}
	return d.run(ctx, "start", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "start", step, func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.executing():
				return already, nil
			case r.Power == vm.PowerSuspended:
				return already, vm.Refuse(vm.ReasonStateForbids, "its memory is saved: resume it, or stop it to give that up")
			case r.Power == vm.PowerPaused:
				r.enter(vm.PowerRunning, "")
			default:
				r.boot()
			}
			return changes, nil
		})
	})
}

// Stop ends execution. The simulated guest obeys as soon as it is asked, and a paused one is not asked, so grace is never
// waited for; a slow guest is told with the step's latency.
func (d *Driver) Stop(ctx context.Context, id vm.InstanceID, _ time.Duration, report drivers.Report) error {
	return d.run(ctx, "stop", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "stop", named("stop"), func(r *record) (verdict, error) {
			if !r.exists() {
				return already, drivers.ErrNoMachine
			}
			if r.Power == vm.PowerSuspended {
				r.enter(vm.PowerShutdown, "")
				return changes, nil
			}
			return cut(vm.PowerShutdown, "")(r)
		})
	})
}

// Reboot restarts the guest. A hard one also starts what has ended and was started once.
func (d *Driver) Reboot(ctx context.Context, id vm.InstanceID, grace time.Duration, report drivers.Report) error {
	return d.run(ctx, "reboot", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "reboot", named("reboot"), func(r *record) (verdict, error) {
			switch {
			case !r.Made:
				return already, drivers.ErrNoMachine
			case r.on(), grace == 0 && r.Spawned && (r.Power == vm.PowerCrashed || r.Power == vm.PowerShutdown):
				r.boot()
				return changes, nil
			}
			return already, vm.Refuse(vm.ReasonDriver, "the machine is %s", r.Power)
		})
	})
}

// Pause keeps the guest from executing.
func (d *Driver) Pause(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "pause", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "pause", named("pause"), between(vm.PowerRunning, vm.PowerPaused))
	})
}

// Unpause lets it go on.
func (d *Driver) Unpause(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "unpause", id, report, func(ctx context.Context, c *call) error {
		return c.do(ctx, "unpause", named("unpause"), between(vm.PowerPaused, vm.PowerRunning))
	})
}

// Destroy cuts the power and then removes the machine, in two changes as on a real host. It refuses what it cannot read.
func (d *Driver) Destroy(ctx context.Context, id vm.InstanceID, report drivers.Report) error {
	return d.run(ctx, "destroy", id, report, func(ctx context.Context, c *call) error {
		m := d.find(id)
		if m == nil {
			return nil
		}
		r, err := m.copied()
		if err != nil || !r.exists() {
			return err
		}
		if err := c.step(ctx, m, r.faults, "destroy"); err != nil {
			return err
		}
		if err := d.change(ctx, m, "poweroff", cut(vm.PowerShutdown, "")); err != nil {
			return err
		}
		return d.change(ctx, m, "destroy", func(r *record) (verdict, error) {
			switch {
			case !r.exists():
				return already, nil
			case r.on():
				return already, vm.Refuse(vm.ReasonDriver, "the machine was started meanwhile")
			}
			return removes, nil
		})
	})
}

func named(step string) func(*record) string { return func(*record) string { return step } }

// between moves a machine from one power state to the other.
func between(from, to vm.PowerState) move {
	return func(r *record) (verdict, error) {
		switch {
		case !r.Made:
			return already, drivers.ErrNoMachine
		case r.Power == to:
			return already, nil
		case r.Power != from:
			return already, vm.Refuse(vm.ReasonDriver, "the machine is %s", r.Power)
		}
		r.enter(to, "")
		return changes, nil
	}
}
