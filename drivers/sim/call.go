package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// errInterrupted ends the calls that Interrupt finds under way.
var errInterrupted = errors.New("interrupted")

// call is one method at work on one machine.
type call struct {
	d      *Driver
	id     vm.InstanceID
	report drivers.Report
	cancel context.CancelCauseFunc
}

// run makes f the named verb. Until it ends, Interrupt and Close can end the context that f is given.
func (d *Driver) run(
	ctx context.Context, verb string, id vm.InstanceID, report drivers.Report, f func(context.Context, *call) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &call{d: d, id: id, report: report, cancel: cancel}
	if !d.enlist(c) {
		return fmt.Errorf("cannot %s %s: %w", verb, id, errClosed)
	}
	defer d.dismiss(c)
	if err := f(ctx, c); err != nil {
		return fmt.Errorf("cannot %s %s: %w", verb, id, err)
	}
	return nil
}

// enlist is false once Close has begun: nobody would be left to end a hang.
func (d *Driver) enlist(c *call) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.calls == nil {
		return false
	}
	if d.calls[c.id] == nil {
		d.calls[c.id] = map[*call]struct{}{}
	}
	d.calls[c.id][c] = struct{}{}
	return true
}

func (d *Driver) dismiss(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if delete(d.calls[c.id], c); len(d.calls[c.id]) == 0 {
		delete(d.calls, c.id)
	}
}

// Interrupt ends the calls under way for id; with kill it then cuts the power, whatever hangs. When it has returned, an
// interrupted call cannot change the machine any more (P2, I8).
func (d *Driver) Interrupt(ctx context.Context, id vm.InstanceID, kill bool) error {
	d.mu.Lock()
	for c := range d.calls[id] {
		c.cancel(errInterrupted)
	}
	d.mu.Unlock()
	m := d.find(id)
	if m == nil || m.unknown != "" {
		return nil
	}
	m.mu.Lock() // a change that was being written is now kept; the next one compares its context
	if kill {
		m.hung = nil
	}
	m.mu.Unlock()
	if !kill {
		return nil
	}
	if err := d.change(ctx, m, "kill", cut(vm.PowerCrashed, "killed")); err != nil {
		return fmt.Errorf("cannot kill %s: %w", id, err)
	}
	return nil
}

// step takes as long as it is told, fails when it is told, or hangs. It changes nothing of the machine.
func (c *call) step(ctx context.Context, m *machine, f faults, name string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if m.deaf(name) || or(f.hang, c.d.cfg.Hang, name) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := c.work(ctx, name, m.amount(name), or(f.latency, c.d.cfg.Latency, name)); err != nil {
		return err
	}
	fails, err := c.d.spend(c.id, name, or(f.fail, c.d.cfg.Fail, name))
	if err != nil {
		return err
	}
	if fails {
		return vm.Refuse(vm.ReasonDriver, "the step %s was told to fail", name)
	}
	return nil
}

// work passes the time and reports it at once and then each second (P7, I5): as so much of the amount of bytes, or as
// what it is when there is none to move.
func (c *call) work(ctx context.Context, step string, amount int64, latency time.Duration) error {
	if latency == 0 {
		return nil
	}
	began := time.Now()
	end := time.NewTimer(latency)
	defer end.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		now := time.Now()
		passed := min(now.Sub(began), latency)
		p := vm.Progress{
			Phase: step, Done: passed.Milliseconds(), Total: latency.Milliseconds(), Unit: "ms", At: now.UTC(),
		}
		if amount > 0 {
			p.Done, p.Total, p.Unit = int64(float64(amount)*(float64(passed)/float64(latency))), amount, "bytes"
		}
		c.report(p)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return nil
		case <-tick.C:
		}
	}
}

// amount is how many bytes the step moves on a real host: memory or disk of the machine's size. 0 when it moves none.
func (m *machine) amount(step string) int64 {
	r := m.rec.Load()
	if r == nil {
		return 0
	}
	switch step {
	case "suspend", "resume":
		return int64(r.Spec.Size.MemoryMiB) << 20
	case "snapshot", "upload":
		return max(1, int64(r.Spec.Size.DiskGiB)<<30)
	}
	return 0
}
