package sim

import (
	"context"
	"fmt"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// Usage tells of vCPUs that run whenever their machine executes, and wait for nobody.
func (d *Driver) Usage(_ context.Context, id vm.InstanceID) ([]drivers.VCPUUsage, error) {
	m := d.find(id)
	if m == nil {
		return nil, fmt.Errorf("cannot tell the usage of %s: %w", id, drivers.ErrNoMachine)
	}
	r, err := m.copied()
	if err == nil && !r.Made {
		err = drivers.ErrNoMachine
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell the usage of %s: %w", id, err)
	}
	if !r.on() {
		return nil, nil
	}
	all := make([]drivers.VCPUUsage, r.Spec.Size.VCPUs)
	for i := range all {
		all[i].Run = r.ranUntil(time.Now())
	}
	return all, nil
}
