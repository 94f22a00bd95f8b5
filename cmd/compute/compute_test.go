package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func TestHostRangeCountsUp(t *testing.T) {
	for text, want := range map[string][]vm.HostName{
		"h1":                 {"h1"},
		"rack-1.example.org": {"rack-1.example.org"},
		"h1..h3":             {"h1", "h2", "h3"},
		"h08..h10":           {"h08", "h09", "h10"},
		"r2-h1..r2-h2":       {"r2-h1", "r2-h2"},
	} {
		hosts, err := hostRange(text)
		require.NoError(t, err, text)
		require.Equal(t, want, hosts, text)
	}
}

func TestHostRangeRefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"", ".", "..", "../x", "h1/..", "h1..", "..h1", "h1..g2", "h2..h1", "h1..h1001", "a..b", "h 1"} {
		_, err := hostRange(text)
		require.ErrorContains(t, err, "--host", text)
	}
}

func TestPortsCountUpUnlessAnyWillDo(t *testing.T) {
	for _, tt := range []struct {
		listen string
		n      int
		want   string
	}{
		{"127.0.0.1:9001", 0, "127.0.0.1:9001"},
		{"127.0.0.1:9001", 49, "127.0.0.1:9050"},
		{"127.0.0.1:0", 7, "127.0.0.1:0"},
		{"[::1]:9001", 1, "[::1]:9002"},
	} {
		got, err := nth(tt.listen, tt.n)
		require.NoError(t, err)
		require.Equal(t, tt.want, got)
	}
	for _, listen := range []string{"127.0.0.1", "127.0.0.1:x", "127.0.0.1:65535"} {
		_, err := nth(listen, 1)
		require.ErrorContains(t, err, "--listen", listen)
	}
}

func TestAutoTakesQEMUOnlyWhenItIsInstalled(t *testing.T) {
	program := filepath.Join(t.TempDir(), "qemu")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))

	driver, why, err := (&choice{driver: "auto", qemu: program}).pick("")
	require.NoError(t, err)
	require.Equal(t, "qemu", driver)
	require.Contains(t, why, program)

	driver, why, err = (&choice{driver: "auto", qemu: program + "-missing"}).pick("")
	require.NoError(t, err)
	require.Equal(t, "sim", driver)
	require.Contains(t, why, "not installed")
}

func TestAHostKeepsTheDriverItBeganWith(t *testing.T) {
	dir := t.TempDir()
	c := &choice{driver: "sim"}
	open := func() (drivers.Driver, error) { return c.take(t.Context(), "h1", dir, hclog.NewNullLogger()) }
	d, err := open()
	require.NoError(t, err)
	require.NoError(t, d.Close())

	c.driver = "qemu"
	_, err = open()
	require.ErrorContains(t, err, "made with sim")

	c.driver, c.qemu = "auto", "/bin/true"
	d, err = open()
	require.NoError(t, err)
	info, err := d.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, "sim", info.Driver)
	require.NoError(t, d.Close())
}

func TestSimulationSettings(t *testing.T) {
	c := choice{
		simCapacity: map[string]string{"vcpus": "8", "memory_mib": "1024", "disk_gib": "10"},
		simLatency:  map[string]string{"spawn": "2s"}, simFail: map[string]int{"stop": 1}, simHang: []string{"pause"},
	}
	cfg, err := c.simulated()
	require.NoError(t, err)
	require.Equal(t, vm.Size{VCPUs: 8, MemoryMiB: 1024, DiskGiB: 10}, cfg.Capacity)
	require.Equal(t, map[string]time.Duration{"spawn": 2 * time.Second}, cfg.Latency)
	require.Equal(t, map[string]bool{"pause": true}, cfg.Hang)
	require.Equal(t, map[string]int{"stop": 1}, cfg.Fail)

	for _, bad := range []choice{
		{simLatency: map[string]string{"spawn": "2"}},
		{simCapacity: map[string]string{"vcpus": "8"}},
		{capacity: map[string]string{"vcpus": "8", "memory_mib": "0", "disk_gib": "10"}},
		{capacity: map[string]string{"vcpus": "8", "memory_mib": "1", "disk_gib": "1", "gpus": "1"}},
	} {
		_, err := bad.simulated()
		require.Error(t, err)
	}
}

func TestPurgeEndsWhatEveryHostLeft(t *testing.T) {
	data := t.TempDir()
	for _, host := range []vm.HostName{"h1", "h3"} {
		d, err := (&choice{driver: "sim"}).take(t.Context(), host, filepath.Join(data, string(host)), hclog.NewNullLogger())
		require.NoError(t, err)
		id := vm.InstanceID("01934f6e-0000-7000-8000-00000000000" + string(host[1]))
		spec := drivers.Spec{
			ID: id, Name: "left", Size: vm.Size{VCPUs: 1, MemoryMiB: 1, DiskGiB: 1},
			Image: drivers.Image{URL: "builtin:boot0", Format: "raw"},
		}
		require.NoError(t, d.Prepare(t.Context(), spec, func(vm.Progress) {}))
		require.NoError(t, d.Start(t.Context(), id, func(vm.Progress) {}))
		require.NoError(t, d.Close())
	}
	purge := purgeCommand()
	purge.SetArgs([]string{"--data-dir", data})
	var said bytes.Buffer
	purge.SetOut(&said)
	require.NoError(t, purge.ExecuteContext(t.Context()))
	require.Equal(t, "destroyed 1 machines of host h1\ndestroyed 1 machines of host h3\n", said.String())
	left, err := filepath.Glob(filepath.Join(data, "*", "sim", "machines", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
