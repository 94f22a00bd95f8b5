package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// Usage implements drivers.Meter. The host's kernel counts, for the thread of each vCPU.
func (d *Driver) Usage(ctx context.Context, id vm.InstanceID) ([]drivers.VCPUUsage, error) {
	dir, err := d.folderOf(id)
	if err != nil {
		return nil, errors.Join(drivers.ErrNoMachine, err)
	}
	m := d.hold(id, dir)
	defer d.release(m)
	if _, err := m.require(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errSilent)
	defer cancel()
	all, err := m.usage(ctx)
	if errors.Is(err, errOff) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell what %s uses: %w", id, err)
	}
	return all, nil
}

// vcpu is one of QEMU's threads.
type vcpu struct {
	Index  int `json:"cpu-index"`
	Thread int `json:"thread-id"`
}

func (m *machine) usage(ctx context.Context) ([]drivers.VCPUUsage, error) {
	var cpus []vcpu
	if err := m.side.do(ctx, "query-cpus-fast", nil, &cpus); err != nil {
		return nil, err
	}
	pid, err := os.ReadFile(filepath.Join(m.dir, folder.PIDFile))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(cpus, func(a, b vcpu) int { return cmp.Compare(a.Index, b.Index) })
	all := make([]drivers.VCPUUsage, 0, len(cpus))
	for _, c := range cpus {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%s/task/%d/schedstat", strings.TrimSpace(string(pid)), c.Thread))
		if err != nil {
			return nil, err
		}
		u, err := parseSchedstat(string(b))
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// parseSchedstat reads nanoseconds on a processor, nanoseconds in wait of one, and a count that is of no use here.
func parseSchedstat(s string) (u drivers.VCPUUsage, err error) {
	f := strings.Fields(s)
	if len(f) < 2 {
		return u, fmt.Errorf("cannot understand the scheduler's %q", s)
	}
	run, err1 := strconv.ParseInt(f[0], 10, 64)
	wait, err2 := strconv.ParseInt(f[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return u, fmt.Errorf("cannot understand the scheduler's %q: %w", s, err)
	}
	return drivers.VCPUUsage{Run: time.Duration(run), Wait: time.Duration(wait)}, nil
}
