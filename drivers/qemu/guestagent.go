package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/qga"
)

// agent connects to the guest's agent. It returns drivers.ErrNoAgent when none has answered within patience, or none can:
// then nothing was changed in the guest. While a connection is open another one gets no answer.
func (m *machine) agent(ctx context.Context, patience time.Duration) (*qga.Client, error) {
	alive, err := m.alive()
	if err != nil {
		return nil, err
	}
	if !alive {
		return nil, fmt.Errorf("%w: %w", drivers.ErrNoAgent, errOff)
	}
	conn, err := folder.Dial(ctx, m.dir, folder.Agent)
	if errors.Is(err, fs.ErrNotExist) { // its process is older than the port
		return nil, fmt.Errorf("%w: it has no port for one until it is rebooted", drivers.ErrNoAgent)
	}
	if err != nil {
		return nil, err
	}
	c, err := qga.New(ctx, conn, patience)
	if errors.Is(err, qga.ErrSilent) {
		return nil, fmt.Errorf("%w: %w", drivers.ErrNoAgent, err)
	}
	return c, err
}
