package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
)

// findQEMU installs QEMU where it may, and says whether it is here.
func (d *demo) findQEMU(ctx context.Context) bool {
	cmd := exec.CommandContext(ctx, filepath.Join(d.root, "deploy", "install-qemu.sh"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		d.show.note("Going on without QEMU, with simulated machines.")
		return false
	}
	return true
}

// begin starts the cluster and the server with the image.
func (d *demo) begin(ctx context.Context) error {
	d.show.title("Start a cluster on this machine",
		`An etcd, three conductors (the control plane; any of them answers) and two hosts with their agents: six
		processes, on free ports, in a temporary directory. A conductor that dies is started again.`)
	bin, err := filepath.Abs(filepath.Join(d.root, "bin"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "leasehold-demo-")
	if err != nil {
		return fmt.Errorf("cannot make a temporary directory: %w", err)
	}
	args := []string{
		"--conductors", "3", "--computes", "2", "--driver", "auto", "--restart",
		"--etcd-port", "0", "--grpc-port", "0", "--http-port", "0", "--compute-port", "0",
	}
	d.show.command("conductor dev " + strings.Join(args, " "))
	if d.cluster, err = startCluster(dir, filepath.Join(bin, "conductor"), args...); err != nil {
		return err
	}
	state, err := d.cluster.ready(ctx)
	if err != nil {
		return err
	}
	var servers []string
	for _, p := range state.Conductors {
		servers = append(servers, p.Address)
	}
	d.vmctl = &vmctl{show: d.show, program: filepath.Join(bin, "vmctl"), servers: strings.Join(servers, ",")}
	d.show.answer("driver: " + state.Driver)
	d.show.command("export LEASEHOLD_SERVER=" + d.vmctl.servers)
	for _, what := range []string{"conductor", "host"} {
		if err := d.vmctl.run(ctx, what, "list"); err != nil {
			return err
		}
	}
	if err := d.checkDriver(ctx); err != nil {
		return err
	}
	if d.image, err = serveImage(ctx, 3*time.Second); err != nil {
		return err
	}
	return d.vmctl.run(ctx, "image", "create", "demo", "--url", d.image.url, "--format", "raw")
}

// checkDriver refuses to show simulated machines where real ones can be had.
func (d *demo) checkDriver(ctx context.Context) error {
	hosts := &conductorv1.ListHostsResponse{}
	if err := d.vmctl.ask(ctx, hosts, "host", "list"); err != nil {
		return err
	}
	for _, h := range hosts.GetHosts() {
		d.driver = h.GetDriver()
		if d.installed && d.driver != "qemu" {
			return fmt.Errorf("cannot show real machines: QEMU is installed, but host %s uses the driver %s", h.GetName(), d.driver)
		}
	}
	if d.driver == "qemu" {
		d.show.good("both hosts run real machines")
	} else {
		d.show.note("QEMU is not installed: the hosts only simulate machines")
	}
	return nil
}

// create makes the instance, under fire. A create that is over before the kill proves nothing and is done again.
func (d *demo) create(ctx context.Context) error {
	const tries = 3
	for try := 1; ; try++ {
		d.name = fmt.Sprintf("demo-%d", try)
		task, err := d.createAndKill(ctx)
		if err == nil {
			d.task = task
			return d.vmctl.run(ctx, "instance", "show", d.name)
		}
		if !errors.Is(err, errMissed) || try == tries {
			return err
		}
		d.show.note("%v: once more", err)
		if err := d.vmctl.run(ctx, "instance", "delete", d.name, "--wait"); err != nil {
			return err
		}
	}
}

var (
	counter  = regexp.MustCompile(`[0-9A-F]{8}`)
	greeting = regexp.MustCompile(`SIM-READY \S+`)
)

// talk asks the guest itself.
func (d *demo) talk(ctx context.Context) error {
	d.show.title("The guest answers on its serial console",
		`The guest is a boot sector of 512 bytes, without any system. It answers the key c with a counter that
		grows 18 times a second: proof that something executes.`)
	if d.driver != "qemu" {
		_, err := d.vmctl.console(ctx, d.name, "c", greeting)
		return err
	}
	first, err := d.vmctl.console(ctx, d.name, "c", counter)
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	second, err := d.vmctl.console(ctx, d.name, "c", counter)
	if err != nil {
		return err
	}
	if second <= first { // of the same length
		return fmt.Errorf("cannot believe the guest: its counter went from %s to %s", first, second)
	}
	d.show.good("the counter went from %s to %s", first, second)
	return nil
}

// verbs runs each action on power, and looks at what came of it.
func (d *demo) verbs(ctx context.Context) error {
	d.show.title("Stop, start, reboot, pause, unpause",
		`Each is one task. stop presses the power button and cuts the power when the guest does not obey in time.`)
	for _, v := range []struct{ verb, state, power string }{
		{"stop", "stopped", "shutdown"},
		{"start", "active", "running"},
		{"reboot", "active", "running"},
		{"pause", "paused", "paused"},
		{"unpause", "active", "running"},
	} {
		args := []string{"instance", v.verb, d.name, "--wait"}
		d.show.command(d.vmctl.typed(args...))
		if out, err := d.vmctl.command(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("cannot %s: %w: %s", v.verb, err, out)
		}
		in := &conductorv1.Instance{}
		if err := d.vmctl.ask(ctx, in, "instance", "show", d.name); err != nil {
			return err
		}
		if in.GetVmState() != v.state || in.GetPowerState() != v.power || in.GetTask() != "" {
			return fmt.Errorf("cannot believe the %s: the instance is %s (%s), its power state %s, its task %q",
				v.verb, in.GetVmState(), in.GetTaskState(), in.GetPowerState(), in.GetTask())
		}
		d.show.good("vm_state %s, power_state %s", in.GetVmState(), in.GetPowerState())
	}
	return nil
}

// remove deletes the instance and looks for what is left.
func (d *demo) remove(ctx context.Context) error {
	d.show.title("Delete it, and look for what is left",
		`Delete is legal in every state, and ends whatever runs. Then nothing may be left: no lock, no claim, no
		capacity, no process, no file.`)
	if err := d.vmctl.run(ctx, "instance", "delete", d.name, "--wait"); err != nil {
		return err
	}
	if err := d.vmctl.run(ctx, "check"); err != nil {
		return err
	}
	locks := &conductorv1.ListLocksResponse{}
	if err := d.vmctl.ask(ctx, locks, "lock", "list"); err != nil {
		return err
	}
	left, err := leaks(d.cluster.dir)
	if err != nil {
		return fmt.Errorf("cannot look for leaks: %w", err)
	}
	if n := len(locks.GetLocks()); n > 0 {
		left = append(left, fmt.Sprintf("%d locks", n))
	}
	if len(left) > 0 {
		return fmt.Errorf("cannot call this clean, something leaked:\n  %s", strings.Join(left, "\n  "))
	}
	d.show.good("no lock, no process, no file is left of it")
	return nil
}

// timeline prints what happened, by whom, from the history that the cluster keeps.
func (d *demo) timeline(ctx context.Context) error {
	d.show.title("What happened", "Closed tasks stay in the history for a while, with their steps and who drove them.")
	d.show.command(d.vmctl.typed("instance", "tasks", short(d.task.GetInstance())))
	tasks := &conductorv1.ListTasksResponse{}
	if err := d.vmctl.ask(ctx, tasks, "instance", "tasks", d.task.GetInstance()); err != nil {
		return err
	}
	list := tasks.GetTasks()
	if len(list) != 7 {
		return fmt.Errorf("cannot find the history: %d tasks instead of 7", len(list))
	}
	events := []event{{d.killed, "create", "kill -9 " + d.victim}}
	for _, t := range list {
		for _, a := range t.GetAttempts() {
			events = append(events, event{a.GetSince().AsTime(), t.GetKind(), a.GetConductor() + ": " + a.GetWhy()})
		}
		for _, s := range t.GetSteps() {
			events = append(events, event{s.GetStartedAt().AsTime(), t.GetKind(), "step " + s.GetName() + " on " + s.GetHost()})
		}
		took := t.GetEndedAt().AsTime().Sub(t.GetCreatedAt().AsTime()).Round(time.Millisecond)
		events = append(events, event{t.GetEndedAt().AsTime(), t.GetKind(), fmt.Sprintf("%s after %s", t.GetStatus(), took)})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		d.show.answer(fmt.Sprintf("%7.3fs  %-8s %s", e.at.Sub(events[0].at).Seconds(), e.kind, e.what))
	}
	return nil
}

// event is a line of the timeline.
type event struct {
	at         time.Time
	kind, what string
}

// pause lets time pass for the guest.
func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end stops what was started.
func (d *demo) end() error {
	var failures []error
	if d.image != nil {
		failures = append(failures, d.image.close())
	}
	if d.cluster != nil {
		failures = append(failures, d.cluster.stop())
	}
	return errors.Join(failures...)
}
