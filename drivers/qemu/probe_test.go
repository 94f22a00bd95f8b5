package qemu_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu"
)

func TestVersionIsReadAndOldOnesAreRefused(t *testing.T) {
	for out, want := range map[string]string{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright": "7.2.22",
		"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)":                       "10.0.2",
		"QEMU emulator version 8.0":                                                 "8.0",
	} {
		got, err := qemu.ParseVersion(out)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, out := range []string{"QEMU emulator version 7.1.0", "QEMU emulator version 6.2", "hello", ""} {
		_, err := qemu.ParseVersion(out)
		require.Error(t, err, out)
	}
}

func TestNewestMachineIsNewestByNumber(t *testing.T) {
	got, err := qemu.NewestMachine(strings.Join([]string{
		"Supported machines are:", "pc-i440fx-11.0       old", "pc-q35-9.2           Standard PC",
		"q35                  Standard PC (alias of pc-q35-10.0)", "pc-q35-10.0          Standard PC", "pc-q35-4.0.1         Standard PC",
	}, "\n"))
	require.NoError(t, err)
	require.Equal(t, "pc-q35-10.0", got)
	_, err = qemu.NewestMachine("none   empty machine\n")
	require.Error(t, err)
}

// TestAccelNeedsTheProcessorsModule has hosts as folders.
func TestAccelNeedsTheProcessorsModule(t *testing.T) {
	host := func(paths ...string) string {
		root := t.TempDir()
		for _, p := range paths {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(root, p), nil, 0o600))
		}
		return root
	}
	deviceOnly := host("dev/kvm")
	intel, amd := host("dev/kvm", "sys/module/kvm_intel"), host("dev/kvm", "sys/module/kvm_amd")
	moduleOnly := host("sys/module/kvm_intel")
	for _, c := range []struct {
		root string
		want qemu.Accel
		got  qemu.Accel // empty: refused
	}{
		{deviceOnly, qemu.AccelAuto, qemu.AccelTCG},
		{deviceOnly, qemu.AccelKVM, ""},
		{moduleOnly, qemu.AccelAuto, qemu.AccelTCG},
		{moduleOnly, qemu.AccelKVM, ""},
		{intel, qemu.AccelAuto, qemu.AccelKVM},
		{amd, qemu.AccelAuto, qemu.AccelKVM},
		{intel, qemu.AccelKVM, qemu.AccelKVM},
		{intel, qemu.AccelTCG, qemu.AccelTCG},
		{intel, "xen", ""},
	} {
		got, err := qemu.ChooseAccel(c.want, c.root)
		require.Equal(t, c.got, got)
		require.Equal(t, c.got == "", err != nil)
	}
}

func TestArgumentsHoldNothingThatAUserWrites(t *testing.T) {
	s := newSpec()
	s.Name = "x,process=evil"
	s.Metadata = map[string]string{"evil": "evil"}
	args := qemu.Arguments(s, "pc-q35-7.2", []string{"/firmware"})
	require.NotContains(t, strings.Join(args, " "), "evil")
	for _, want := range [][]string{
		{"-machine", "pc-q35-7.2,accel=tcg"},
		{"-m", "8M"},
		{"-uuid", string(s.ID)},
		{"-S", "-action", "reboot=reset,shutdown=pause,panic=pause"},
		{"-L", "/firmware"},
	} {
		at := slices.Index(args, want[0])
		require.GreaterOrEqual(t, at, 0, want[0])
		require.Equal(t, want, args[at:at+len(want)])
	}
	s.ID = "no-uuid"
	require.NotContains(t, qemu.Arguments(s, "pc-q35-7.2", nil), "-uuid")
}

func TestEveryRunStateOfQEMUHasAPowerState(t *testing.T) {
	for words, want := range map[string]string{
		"running": "running",
		"paused prelaunch debug suspended watchdog inmigrate finish-migrate postmigrate restore-vm save-vm": "paused",
		"shutdown":                               "shutdown",
		"guest-panicked internal-error io-error": "crashed",
		"something-new":                          "nostate",
	} {
		for word := range strings.FieldsSeq(words) {
			require.Equal(t, want, qemu.PowerOf(word), word)
		}
	}
}
