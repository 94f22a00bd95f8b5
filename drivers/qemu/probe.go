package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"leasehold/vm"
)

// hypervisor is what a QEMU binary can do here.
type hypervisor struct {
	version string
	machine string // the newest versioned pc-q35, so that a machine keeps its hardware when QEMU is upgraded
	accel   Accel
}

// oldest is the first version that is known to work.
const oldest = "7.2"

var (
	versionLine = regexp.MustCompile(`(?m)^QEMU emulator version (\d+\.\d+(?:\.\d+)?)`)
	machineLine = regexp.MustCompile(`(?m)^pc-q35-(\d+\.\d+(?:\.\d+)?)\s`)
)

func probe(ctx context.Context, c Config) (hypervisor, error) {
	var h hypervisor
	out, err := exec.CommandContext(ctx, c.QEMU, "--version").Output()
	if err != nil {
		return h, fmt.Errorf("cannot ask %s for its version: %w", c.QEMU, err)
	}
	if h.version, err = parseVersion(string(out)); err != nil {
		return h, err
	}
	out, err = exec.CommandContext(ctx, c.QEMU, "-M", "help").Output()
	if err != nil {
		return h, fmt.Errorf("cannot ask %s for its machines: %w", c.QEMU, err)
	}
	if h.machine, err = newestMachine(string(out)); err != nil {
		return h, err
	}
	h.accel, err = chooseAccel(c.Accel, "/")
	return h, err
}

func parseVersion(out string) (string, error) {
	m := versionLine.FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("cannot understand the version of QEMU: %q", out)
	}
	if compareVersions(m[1], oldest) < 0 {
		return "", fmt.Errorf("cannot use QEMU %s: %s is the oldest that is supported", m[1], oldest)
	}
	return m[1], nil
}

func newestMachine(out string) (string, error) {
	found := machineLine.FindAllStringSubmatch(out, -1)
	if found == nil {
		return "", fmt.Errorf("cannot use this QEMU: it has no machine pc-q35")
	}
	newest := slices.MaxFunc(found, func(a, b []string) int { return compareVersions(a[1], b[1]) })
	return "pc-q35-" + newest[1], nil
}

var number = regexp.MustCompile(`\d+`)

func compareVersions(a, b string) int {
	numbers := func(v string) []int {
		var n []int
		for _, s := range number.FindAllString(v, -1) {
			i, _ := strconv.Atoi(s)
			n = append(n, i)
		}
		return n
	}
	return slices.Compare(numbers(a), numbers(b))
}

// chooseAccel resolves auto on the host whose file system begins at root.
func chooseAccel(want Accel, root string) (Accel, error) {
	lacking := kvm(root)
	switch {
	case want == AccelTCG, want == AccelAuto && lacking != "":
		return AccelTCG, nil
	case want == AccelKVM && lacking != "":
		return "", fmt.Errorf("cannot use KVM: %s", lacking)
	case want == AccelKVM, want == AccelAuto:
		return AccelKVM, nil
	}
	return "", fmt.Errorf("cannot use accelerator %q: it is auto, tcg or kvm", want)
}

// kvm says why KVM cannot be used; empty when it can. That the device opens is not enough: it does so on kernels without
// Intel's or AMD's module too, where ordinary guests crawl or crash.
func kvm(root string) (lacking string) {
	_, intel := os.Stat(root + "/sys/module/kvm_intel")
	_, amd := os.Stat(root + "/sys/module/kvm_amd")
	if intel != nil && amd != nil {
		return "neither kvm_intel nor kvm_amd is loaded"
	}
	f, err := os.OpenFile(root+"/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	f.Close()
	return ""
}

// capacityOf is what the host that holds dir has: all of it, as what else it runs is the operator's to say.
func capacityOf(dir string) (vm.Size, error) {
	var memory unix.Sysinfo_t
	if err := unix.Sysinfo(&memory); err != nil {
		return vm.Size{}, fmt.Errorf("cannot tell the host's memory: %w", err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return vm.Size{}, fmt.Errorf("cannot tell the host's disk: %w", err)
	}
	return vm.Size{
		VCPUs:     runtime.NumCPU(),
		MemoryMiB: vm.MiB(memory.Totalram * uint64(memory.Unit) >> 20),
		DiskGiB:   vm.GiB(disk.Blocks * uint64(disk.Bsize) >> 30),
	}, nil
}
