package qemu_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/drivertest"
	"leasehold/vm"
)

func TestConformance(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) { conform(t, v) })
	}
}

func conform(t *testing.T, v variant) {
	t.Helper()
	var dir string               // of the machine that is to hang; the suite opens a driver before it needs that
	written := map[uint64]bool{} // by any guest: numbers that tell disks apart
	drivertest.Run(t, drivertest.Harness{
		New: func(t *testing.T, d string) drivers.Driver {
			t.Helper()
			dir = d
			return open(t, v, d)
		},
		Spec: func(*testing.T) drivers.Spec { return newSpec() },
		Ready: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
			t.Helper()
			listens(t, d.(drivers.Consoler), id)
		},
		Grace: patience,
		GuestShutdown: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
			t.Helper()
			press(t, d.(drivers.Consoler), id, "p")
		},
		GuestCrash: func(t *testing.T, d drivers.Driver, id vm.InstanceID) {
			t.Helper()
			press(t, d.(drivers.Consoler), id, "x")
		},
		Hang: func(t *testing.T, _ drivers.Driver, id vm.InstanceID) {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(dir, string(id), "pidfile"))
			require.NoError(t, err)
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		},
		Litter: func(t *testing.T, dir string) vm.InstanceID {
			t.Helper()
			require.NoError(t, os.Mkdir(filepath.Join(dir, "litter"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "litter", "disk.qcow2"), []byte("somebody's"), 0o600))
			return "litter"
		},
		Console: &drivertest.Console{Banner: "BOOT0-READY", Send: "c", Reply: "0000"},
		Counter: func(t *testing.T, d drivers.Driver, id vm.InstanceID) uint64 {
			t.Helper()
			l := dial(t, d.(drivers.Consoler), id)
			defer l.hangUp()
			return l.count()
		},
		Disk: &drivertest.Disk{
			Write: func(t *testing.T, d drivers.Driver, id vm.InstanceID) string {
				t.Helper()
				l := dial(t, d.(drivers.Consoler), id)
				defer l.hangUp()
				l.count()
				var n uint64
				until(t, "a number that no disk holds", func() bool { n = l.ask("w"); return !written[n] })
				written[n] = true
				return fmt.Sprint(n)
			},
			Read: func(t *testing.T, d drivers.Driver, id vm.InstanceID) string {
				t.Helper()
				l := dial(t, d.(drivers.Consoler), id)
				defer l.hangUp()
				l.count()
				return fmt.Sprint(l.ask("d"))
			},
		},
	})
}
