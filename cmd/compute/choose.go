package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"leasehold/agent"
	"leasehold/drivers"
	"leasehold/drivers/qemu"
	"leasehold/drivers/sim"
	"leasehold/internal/daemon"
	"leasehold/vm"
)

// The drivers.
const (
	driverAuto = "auto"
	driverSim  = "sim"
	driverQEMU = "qemu"
)

// choice is the settings that say how machines are run.
type choice struct {
	driver   string
	capacity map[string]string

	qemu  string
	accel string

	simCapacity map[string]string
	simLatency  map[string]string
	simFail     map[string]int
	simHang     []string
}

func (c *choice) flags(f *pflag.FlagSet) {
	f.StringVar(&c.driver, "driver", driverAuto, "auto, sim or qemu; auto takes qemu when it is installed")
	f.StringToStringVar(&c.capacity, "capacity", nil,
		"what a host offers: vcpus=8,memory_mib=16384,disk_gib=100 (default: all there is; sim: 64, 262144, 2048)")
	f.StringVar(&c.qemu, "qemu", "qemu-system-x86_64", "QEMU's binary, of PATH or with its path")
	f.StringVar(&c.accel, "qemu-accel", string(qemu.AccelAuto), "auto, tcg or kvm; auto takes kvm where it is real")
	f.StringToStringVar(&c.simCapacity, "sim-capacity", nil, "like --capacity, for simulated hosts only")
	f.StringToStringVar(&c.simLatency, "sim-latency", nil, "how long a simulated step takes: spawn=2s; may be repeated")
	f.StringToIntVar(&c.simFail, "sim-fail", nil, "how often a simulated step fails for each machine: spawn=1; may be repeated")
	f.StringSliceVar(&c.simHang, "sim-hang", nil, "simulated steps that never end: pause; may be repeated")
}

// remembered is the driver that the machines in dir were made with; empty for a new host.
func remembered(dir string) (string, error) {
	kept, err := os.ReadFile(filepath.Join(dir, "driver"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot tell the host's driver: %w", err)
	}
	return strings.TrimSpace(string(kept)), nil
}

// pick answers which driver runs the machines of a host that had one before, or is new, and why. A host keeps the driver
// that it began with: another one would not see its machines and report them gone.
func (c *choice) pick(before string) (driver, why string, err error) {
	switch c.driver {
	case driverAuto:
	case driverSim, driverQEMU:
		if before != "" && before != c.driver {
			return "", "", daemon.Usagef("cannot use --driver %s: the machines in this data directory were made with %s; "+
				"use another directory", c.driver, before)
		}
		return c.driver, "it was asked for", nil
	default:
		return "", "", daemon.Usagef("cannot use --driver %q: it is auto, sim or qemu", c.driver)
	}
	if before != "" {
		return before, "this host began with it", nil
	}
	driver, why = installed(c.qemu)
	return driver, why, nil
}

// installed is the driver for a new host: QEMU where its program is found.
func installed(qemu string) (driver, why string) {
	program, err := exec.LookPath(qemu)
	if err != nil {
		return driverSim, "QEMU is not installed: " + err.Error()
	}
	return driverQEMU, "QEMU is installed: " + program
}

// take opens the driver of a host, and remembers it.
func (c *choice) take(ctx context.Context, host vm.HostName, dir string, log hclog.Logger) (drivers.Driver, error) {
	before, err := remembered(dir)
	if err != nil {
		return nil, err
	}
	name, why, err := c.pick(before)
	if err != nil {
		return nil, err
	}
	driver, err := c.open(ctx, name, host, dir, log)
	if err != nil {
		return nil, err
	}
	log.Info("chose the driver", "driver", name, "why", why)
	if before == name {
		return driver, nil
	}
	if err := os.WriteFile(filepath.Join(dir, "driver"), []byte(name+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot remember the driver: %w", err), driver.Close())
	}
	return driver, nil
}

// open opens the picked driver over the machines in dir.
func (c *choice) open(ctx context.Context, driver string, host vm.HostName, dir string, log hclog.Logger) (drivers.Driver, error) {
	if driver == driverQEMU {
		capacity, err := size("capacity", c.capacity)
		if err != nil {
			return nil, err
		}
		return qemu.New(ctx, qemu.Config{
			Fetch: agent.NewFetch(),
			Dir:   filepath.Join(dir, driverQEMU), QEMU: c.qemu, Accel: qemu.Accel(c.accel), Capacity: capacity,
			Log: log.Named(driverQEMU),
		})
	}
	cfg, err := c.simulated()
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Dir, cfg.Fsync, cfg.Log = host, filepath.Join(dir, driverSim), true, log.Named(driverSim)
	return sim.New(cfg)
}

func (c *choice) simulated() (sim.Config, error) {
	cfg := sim.Config{Fetch: agent.NewFetch(), Fail: c.simFail, Latency: map[string]time.Duration{}, Hang: map[string]bool{}}
	name, given := "capacity", c.capacity
	if len(c.simCapacity) > 0 {
		name, given = "sim-capacity", c.simCapacity
	}
	var err error
	if cfg.Capacity, err = size(name, given); err != nil {
		return cfg, err
	}
	for step, text := range c.simLatency {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return cfg, daemon.Usagef("cannot use --sim-latency %s=%s: %q is no duration such as 2s", step, text, text)
		}
		cfg.Latency[step] = d
	}
	for _, step := range c.simHang {
		cfg.Hang[step] = true
	}
	return cfg, nil
}

// size reads a capacity; zero when nothing is given. Who gives one gives all of it.
func size(flag string, given map[string]string) (vm.Size, error) {
	if len(given) == 0 {
		return vm.Size{}, nil
	}
	amounts := map[string]int{}
	for _, key := range []string{"vcpus", "memory_mib", "disk_gib"} {
		n, err := strconv.Atoi(given[key])
		if err != nil || n < 1 || len(given) != 3 {
			return vm.Size{}, daemon.Usagef("cannot use --%s: it is of the form vcpus=8,memory_mib=16384,disk_gib=100", flag)
		}
		amounts[key] = n
	}
	return vm.Size{
		VCPUs: amounts["vcpus"], MemoryMiB: vm.MiB(amounts["memory_mib"]), DiskGiB: vm.GiB(amounts["disk_gib"]),
	}, nil
}
