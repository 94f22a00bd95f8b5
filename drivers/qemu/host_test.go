package qemu_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu"
	"leasehold/drivers/qemu/shim/shimtest"
	"leasehold/vm"
)

// patience bounds every wait. It is long because guests are emulated and the host may be busy; nothing ever waits so
// long unless it is broken.
const patience = 60 * time.Second

// install is what a missing QEMU asks for. A test without QEMU fails: a skipped one would prove nothing and look well.
const install = "these tests need QEMU: apt-get install --no-install-recommends qemu-system-x86 qemu-utils"

// variant is one QEMU to test with.
type variant struct {
	name     string
	binary   string
	firmware []string
}

// variants are the QEMU of PATH and those of LEASEHOLD_TEST_QEMU: "binary[:firmware folder...]", separated by commas.
func variants(t *testing.T) []variant {
	t.Helper()
	binary, err := exec.LookPath("qemu-system-x86_64")
	require.NoError(t, err, install)
	all := []variant{{name: "installed", binary: binary}}
	for i, v := range strings.FieldsFunc(os.Getenv("LEASEHOLD_TEST_QEMU"), func(r rune) bool { return r == ',' }) {
		parts := strings.Split(v, ":")
		all = append(all, variant{name: fmt.Sprintf("further %d", i+1), binary: parts[0], firmware: parts[1:]})
	}
	return all
}

// each runs a test with every QEMU.
func each(t *testing.T, test func(*host), options ...func(*qemu.Config)) {
	t.Helper()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) { test(newHost(t, v, options...)) })
	}
}

// host is a driver on a directory of its own.
type host struct {
	*testing.T
	v       variant
	options []func(*qemu.Config)
	dir     string
	d       *qemu.Driver
}

func open(t *testing.T, v variant, dir string, options ...func(*qemu.Config)) *qemu.Driver {
	t.Helper()
	c := qemu.Config{
		Dir: dir, QEMU: v.binary, Firmware: v.firmware, Accel: qemu.AccelTCG, ShimCommand: shimtest.Command(),
		Capacity: vm.Size{VCPUs: 64, MemoryMiB: 1 << 18, DiskGiB: 2048},
		Log:      hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}),
	}
	for _, set := range options {
		set(&c)
	}
	d, err := qemu.New(t.Context(), c)
	require.NoError(t, err, install)
	return d
}

func newHost(t *testing.T, v variant, options ...func(*qemu.Config)) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{T: t, v: v, options: options, dir: dir, d: open(t, v, dir, options...)}
	t.Cleanup(h.clear)
	return h
}

func (h *host) clear() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.Context()), patience)
	defer cancel()
	list, err := h.d.List(ctx)
	if err != nil {
		h.Errorf("cannot list what is left: %v", err)
	}
	for _, m := range list {
		if m.Unknown {
			continue
		}
		if err := h.d.Destroy(ctx, m.ID, func(vm.Progress) {}); err != nil {
			h.Errorf("cannot destroy %s at the end: %v", m.ID, err)
		}
	}
	if err := h.d.Close(); err != nil {
		h.Errorf("cannot close: %v", err)
	}
}

// restart plays the agent's restart.
func (h *host) restart() {
	h.Helper()
	require.NoError(h, h.d.Close())
	h.d = open(h.T, h.v, h.dir, h.options...)
}

// newSpec describes a machine that runs boot0.
func newSpec() drivers.Spec {
	id := make([]byte, 16)
	rand.Read(id)
	return drivers.Spec{
		ID:    vm.InstanceID(fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])),
		Name:  "guest, with a comma",
		Size:  vm.Size{VCPUs: 1, MemoryMiB: 8, DiskGiB: 1},
		Image: drivers.Image{ID: "boot0", Name: "boot0", URL: "builtin:boot0", Format: "raw"},
	}
}

func quiet(vm.Progress) {}

// ctx ends with patience, or the test.
func (h *host) ctx() context.Context {
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	h.Cleanup(cancel)
	return ctx
}

// booted is a machine whose guest listens.
func (h *host) booted() vm.InstanceID {
	h.Helper()
	s := newSpec()
	require.NoError(h, h.d.Prepare(h.ctx(), s, quiet))
	require.NoError(h, h.d.Start(h.ctx(), s.ID, quiet))
	listens(h.T, h.d, s.ID)
	return s.ID
}

func (h *host) inspect(id vm.InstanceID) drivers.Machine {
	h.Helper()
	m, err := h.d.Inspect(h.ctx(), id)
	require.NoError(h, err)
	return m
}

// becomes waits for a power state.
func (h *host) becomes(id vm.InstanceID, want vm.PowerState) drivers.Machine {
	h.Helper()
	var m drivers.Machine
	until(h.T, "power state "+string(want), func() bool { m = h.inspect(id); return m.PowerState == want })
	return m
}

// tells waits for the event that id is in this state. That a hypervisor is silent for a moment on a busy host is passed
// over, unless it is what is waited for.
func (h *host) tells(events <-chan drivers.Event, id vm.InstanceID, want vm.PowerState) drivers.Event {
	h.Helper()
	deadline := time.After(patience)
	silent := false
	for {
		select {
		case e := <-events:
			require.Equal(h, id, e.ID)
			if e.PowerState == want {
				return e
			}
			if e.PowerState == vm.PowerNoState || silent && e.PowerState == vm.PowerRunning {
				silent = e.PowerState == vm.PowerNoState
				continue
			}
			require.Equal(h, want, e.PowerState, e.Detail)
		case <-deadline:
			require.FailNow(h, "no event says "+string(want))
		}
	}
}

func (h *host) file(id vm.InstanceID, name string) string {
	return filepath.Join(h.dir, string(id), name)
}

// process is the number of the machine's QEMU.
func (h *host) process(id vm.InstanceID) int {
	h.Helper()
	b, err := os.ReadFile(h.file(id, "pidfile"))
	require.NoError(h, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(h, err)
	return pid
}

// signal sends a signal to the machine's QEMU, shim to its shim.
func (h *host) signal(id vm.InstanceID, s syscall.Signal) {
	h.Helper()
	require.NoError(h, syscall.Kill(h.process(id), s))
}

func (h *host) shim(id vm.InstanceID) int {
	h.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.process(id)))
	require.NoError(h, err)
	_, rest, _ := strings.Cut(string(b), ") ")
	pid, err := strconv.Atoi(strings.Fields(rest)[1])
	require.NoError(h, err)
	return pid
}

// processes are those that have dir in their command line, or work in it.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	var found []string
	for _, p := range all {
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		cmd, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if strings.Contains(string(cmd), dir) || strings.HasPrefix(cwd, dir) {
			found = append(found, p+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return found
}

func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(t, "waited in vain for "+what)
		}
	}
}

// line is the open serial line of a machine.
type line struct {
	*testing.T
	io.ReadWriteCloser
	heard chan string
	all   string
}

func dial(t *testing.T, d drivers.Consoler, id vm.InstanceID) *line {
	t.Helper()
	c, err := d.Console(t.Context(), id)
	require.NoError(t, err)
	l := &line{T: t, ReadWriteCloser: c, heard: make(chan string, 1024)}
	go func() {
		defer close(l.heard)
		b := make([]byte, 256)
		for {
			n, err := c.Read(b)
			if n > 0 {
				l.heard <- string(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return l
}

func (l *line) say(s string) {
	l.Helper()
	_, err := io.WriteString(l, s)
	require.NoError(l, err)
}

// hear waits up to limit for text, and forgets all up to its end.
func (l *line) hear(text string, limit time.Duration) bool {
	deadline := time.After(limit)
	for {
		if _, after, ok := strings.Cut(l.all, text); ok {
			l.all = after
			return true
		}
		select {
		case s, ok := <-l.heard:
			if !ok {
				return false
			}
			l.all += s
		case <-deadline:
			return false
		}
	}
}

// count asks boot0 for its counter, again and again: a guest that boots does not hear.
func (l *line) count() uint64 {
	l.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		l.say("c")
		if n, ok := l.number(time.Second); ok {
			return n
		}
	}
	require.FailNow(l, "the guest does not answer")
	return 0
}

// ask sends a key to a guest that listens, and hears the number that it answers.
func (l *line) ask(key string) uint64 {
	l.Helper()
	l.say(key)
	n, ok := l.number(patience)
	require.True(l, ok, "the guest does not answer")
	return n
}

// number hears a line of 8 digits. What came before is forgotten.
func (l *line) number(limit time.Duration) (uint64, bool) {
	deadline := time.After(limit)
	for {
		for l.all != "" {
			text, rest, whole := strings.Cut(l.all, "\r\n")
			if !whole {
				break
			}
			l.all = rest
			if n, err := strconv.ParseUint(text, 16, 64); err == nil && len(text) == 8 {
				return n, true
			}
		}
		select {
		case s, open := <-l.heard:
			require.True(l, open, "the line has ended")
			l.all += s
		case <-deadline:
			return 0, false
		}
	}
}

func (l *line) hangUp() {
	l.Helper()
	require.NoError(l, l.Close())
	for range l.heard {
	}
}

// listens waits until boot0 has answered: then it obeys the power button too.
func listens(t *testing.T, d drivers.Consoler, id vm.InstanceID) {
	t.Helper()
	l := dial(t, d, id)
	l.count()
	l.hangUp()
}

// press sends one key to boot0, which listens.
func press(t *testing.T, d drivers.Consoler, id vm.InstanceID, key string) {
	t.Helper()
	l := dial(t, d, id)
	l.say(key)
	l.hangUp()
}
