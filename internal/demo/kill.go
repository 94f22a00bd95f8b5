package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/dev"
	"leasehold/vm"
)

// promised is how soon after the death of a conductor's process its tasks go on (P3). Twice that is a failure; between the
// two this machine may just be busy.
const promised = time.Second

// errMissed says that the create had ended before anybody could be killed.
var errMissed = errors.New("the create was faster than the kill")

// createAndKill creates an instance and kills whoever makes it, in the middle. It returns the task, finished by another.
func (d *demo) createAndKill(ctx context.Context) (*conductorv1.Task, error) {
	d.show.title("Create a virtual machine",
		`The request is admitted in one etcd transaction: the task, the reservation of the instance, the claim and
		the locks of the conductor that took it. We do not wait for the end.`)
	args := []string{"instance", "create", d.name, "--flavor", "tiny", "--image", "demo"}
	if d.driver == "sim" {
		args = append(args, "--metadata", "sim.latency.spawn="+d.image.takes.String())
	}
	if err := d.vmctl.run(ctx, args...); err != nil {
		return nil, err
	}
	task, err := d.inTheMiddle(ctx)
	if err != nil {
		return nil, err
	}

	d.show.title("kill -9 the conductor that is making it",
		`The machine's disk is half made: its image is on its way to the host, slowly, on purpose. The locks name
		the conductor that drives the task. It gets no chance to say goodbye.`)
	if err := d.vmctl.run(ctx, "lock", "list"); err != nil {
		return nil, err
	}
	d.victim = task.GetConductor()
	state, err := dev.Read(d.cluster.dir)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(state.Conductors, func(p dev.Process) bool { return p.Name == d.victim })
	if i < 0 || state.Conductors[i].PID == 0 {
		return nil, fmt.Errorf("cannot kill %q, which has the claim: it is not among the conductors that run", d.victim)
	}
	pid := state.Conductors[i].PID
	d.show.command(fmt.Sprintf("kill -9 %d   # %s", pid, d.victim))
	d.killed = time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return nil, fmt.Errorf("cannot kill %s: %w", d.victim, err)
	}

	d.show.title("Another conductor finishes it",
		`The others notice at once that the process is gone. One of them takes the claim, makes the host refuse
		everything older (the fence), looks what is really there, and goes on.`)
	if err := d.vmctl.run(ctx, "task", "wait", short(task.GetId())); err != nil {
		return nil, err
	}
	return d.takenOver(ctx, task.GetId())
}

// inTheMiddle waits until a host is making the machine, and returns the task as it is then.
func (d *demo) inTheMiddle(ctx context.Context) (*conductorv1.Task, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		in, task := &conductorv1.Instance{}, &conductorv1.Task{}
		if err := d.vmctl.ask(ctx, in, "instance", "show", d.name); err != nil {
			return nil, err
		}
		if in.GetTask() == "" {
			return nil, errMissed
		}
		if err := d.vmctl.ask(ctx, task, "task", "show", in.GetTask()); err != nil {
			return nil, err
		}
		spawning := slices.ContainsFunc(task.GetSteps(), func(s *conductorv1.Step) bool {
			return s.GetName() == "spawn" && s.GetStatus() == string(vm.StepDoing)
		})
		if spawning && task.GetConductor() != "" && d.underWay() {
			return task, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// underWay says whether the image is on its way to the host; the simulator fetches none.
func (d *demo) underWay() bool { return d.driver == "sim" || len(d.image.begun) > 0 }

// takenOver checks the history of the task.
func (d *demo) takenOver(ctx context.Context, id string) (*conductorv1.Task, error) {
	task := &conductorv1.Task{}
	if err := d.vmctl.ask(ctx, task, "task", "show", id); err != nil {
		return nil, err
	}
	attempts := task.GetAttempts()
	if len(attempts) == 1 {
		return nil, errMissed
	}
	first, second := attempts[0], attempts[1]
	if first.GetConductor() != d.victim || second.GetConductor() == d.victim {
		return nil, fmt.Errorf("cannot believe the history of task %s: %s was killed, and %s went on after %s",
			id, d.victim, second.GetConductor(), first.GetConductor())
	}
	after := second.GetSince().AsTime().Sub(d.killed).Round(time.Millisecond)
	d.show.good("%s took the task over %s after %s was killed (promised: within %s), and the create succeeded",
		second.GetConductor(), after, d.victim, promised)
	switch {
	case after > 2*promised:
		return nil, fmt.Errorf("cannot keep the promise: the takeover came %s after the kill", after)
	case after > promised:
		d.show.note("slower than promised: is this machine busy?")
	}
	return task, nil
}

// short is how a person types an id; it is unique enough here. The beginning of a UUIDv7 is the time.
func short(id string) string {
	parts := strings.Split(id, "-")
	return strings.Join(parts[:min(3, len(parts))], "-")
}
