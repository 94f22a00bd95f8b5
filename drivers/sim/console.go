package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"leasehold/drivers"
	"leasehold/vm"
)

// consoleLimit is how much of what a guest wrote is kept.
const consoleLimit = 4096

// banner is what the guest says when it begins, and to everybody who opens a line.
func (r *record) banner() string {
	if r.Rescue != "" {
		return "SIM-READY " + r.Spec.Name + ", rescued from " + string(r.Rescue) + "\n"
	}
	return "SIM-READY " + r.Spec.Name + "\n"
}

// Console opens a line to the guest: it greets with "SIM-READY <name>", and the rescue image of a rescued
// one, and echoes what is written while it executes; a
// paused guest does not hear. Several lines may be open, and each gets every echo. A line ends with its Close, with ctx,
// and with the guest.
func (d *Driver) Console(ctx context.Context, id vm.InstanceID) (io.ReadWriteCloser, error) {
	r, m, err := d.logged(id)
	if err != nil {
		return nil, err
	}
	d.open.RLock()
	defer d.open.RUnlock()
	if d.closed {
		return nil, fmt.Errorf("cannot open the console of %s: %w", id, errClosed)
	}
	m.mu.Lock() // so that the guest does not end between the question and the line
	defer m.mu.Unlock()
	if r, _ = m.copied(); !r.on() {
		return nil, fmt.Errorf("cannot open the console of %s: %w", id,
			vm.Refuse(vm.ReasonDriver, "the machine is %s", r.Power))
	}
	l := &line{d: d, m: m}
	l.came = sync.NewCond(&l.mu)
	l.buf.WriteString(r.banner())
	m.lines.add(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop = context.AfterFunc(ctx, func() { _ = l.Close() })
	return l, nil
}

// ConsoleLog returns the last of what the guest wrote, of all its starts.
func (d *Driver) ConsoleLog(_ context.Context, id vm.InstanceID, most int) ([]byte, error) {
	r, _, err := d.logged(id)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(r.Console[max(0, len(r.Console)-max(0, most)):]), nil
}

// logged is a machine that has a console.
func (d *Driver) logged(id vm.InstanceID) (record, *machine, error) {
	m := d.find(id)
	if m == nil {
		return record{}, nil, fmt.Errorf("cannot read the console of %s: %w", id, drivers.ErrNoMachine)
	}
	r, err := m.copied()
	if err == nil && !r.Made {
		err = drivers.ErrNoMachine
	}
	if err != nil {
		return record{}, nil, fmt.Errorf("cannot read the console of %s: %w", id, err)
	}
	return r, m, nil
}

// lines are the open consoles of one machine.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

func (ls *lines) add(l *line) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.open == nil {
		ls.open = map[*line]struct{}{}
	}
	ls.open[l] = struct{}{}
}

func (ls *lines) remove(l *line) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.open, l)
}

func (ls *lines) all() []*line {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	all := make([]*line, 0, len(ls.open))
	for l := range ls.open {
		all = append(all, l)
	}
	return all
}

// bring shows p on every line.
func (ls *lines) bring(p []byte) {
	if len(p) == 0 {
		return
	}
	for _, l := range ls.all() {
		l.bring(p)
	}
}

func (ls *lines) hangUp() {
	for _, l := range ls.all() {
		_ = l.Close()
	}
}

// line is one open console.
type line struct {
	d    *Driver
	m    *machine
	stop func() bool // of watching the context

	mu     sync.Mutex
	came   *sync.Cond // something to read, or the end
	buf    bytes.Buffer
	closed bool
}

func (l *line) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.buf.Len() == 0 && !l.closed {
		l.came.Wait()
	}
	if l.buf.Len() == 0 {
		return 0, io.EOF
	}
	return l.buf.Read(p)
}

// Write is what somebody types. The guest's echo is in the log before it is on the lines.
func (l *line) Write(p []byte) (int, error) {
	if l.ended() {
		return 0, os.ErrClosed
	}
	err := l.d.apply(l.m, "console", func(r *record) (verdict, error) {
		if !r.executing() {
			return already, nil
		}
		r.write(p)
		return changes, nil
	}, byItself)
	if err != nil {
		return 0, fmt.Errorf("cannot write to the console of %s: %w", l.m.id, err)
	}
	return len(p), nil
}

func (l *line) bring(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.buf.Write(p)
		l.came.Broadcast()
	}
}

func (l *line) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Close ends the reads that wait; what had come before can still be read.
func (l *line) Close() error {
	l.m.lines.remove(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.stop()
	l.came.Broadcast()
	return nil
}
