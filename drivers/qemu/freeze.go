package qemu

import (
	"context"
	"fmt"
	"time"

	"leasehold/drivers/qemu/qga"
)

// The patience with agents where the work can go on without them.
const (
	freezePatience = time.Second      // for one that may be there
	thawPatience   = 5 * time.Second  // for one that has answered a moment ago
	thawLimit      = 15 * time.Second // for thaw as a whole, with whom the caller waits
	leftPatience   = 10 * time.Second // for the agents of all machines at once, when the driver opens
)

// freeze has the guest hold its file systems still, so that a copy of the disk is one that it can start from without
// repair. That is a favour: where no agent answers, or it cannot do it, the copy is what a power cut leaves, and thaw does
// nothing. The error is the context's. thaw must be called; it works also after ctx has ended, and takes no longer than
// thawLimit. A guest whose thaw fails, or is never called because the agent dies, is thawed when a driver opens.
func (m *machine) freeze(ctx context.Context) (thaw func(), err error) {
	agent, err := m.agent(ctx, freezePatience)
	if err == nil {
		err = freezeAnew(ctx, agent)
	}
	if err == nil {
		m.d.log.Debug("the guest has frozen its file systems", "instance", m.id)
		return func() { m.thaw(ctx, agent) }, nil
	}
	if agent != nil {
		m.thaw(ctx, agent) // it may be frozen, in whole or in part, or be about to
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("cannot freeze the file systems of %s: %w", m.id, context.Cause(ctx))
	}
	m.d.log.Info("goes on without frozen file systems", "instance", m.id, "reason", err)
	return func() {}, nil
}

// freezeAnew freezes, also what a predecessor has left frozen: what was written since then is not in it.
func freezeAnew(ctx context.Context, agent *qga.Client) error {
	frozen, err := agent.Frozen(ctx)
	if err == nil && frozen {
		_, err = agent.Thaw(ctx)
	}
	if err == nil {
		_, err = agent.Freeze(ctx)
	}
	return err
}

// thaw ends a freeze and the connection. Where that connection was lost it makes another one.
func (m *machine) thaw(ctx context.Context, agent *qga.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), thawLimit)
	defer cancel()
	_, err := agent.Thaw(ctx)
	agent.Close()
	if err != nil {
		if agent, err = m.agent(ctx, thawPatience); err == nil {
			_, err = agent.Thaw(ctx)
			agent.Close()
		}
	}
	if err != nil {
		m.d.log.Warn("cannot thaw the file systems of a guest", "instance", m.id, "error", err)
	}
}

// thawLeft thaws what a predecessor has left frozen (I1 of the seam). A call of this driver that has frozen the guest
// holds the line until it has thawed it, so this finds either end of it and never the middle.
func (m *machine) thawLeft(ctx context.Context) {
	agent, err := m.agent(ctx, leftPatience)
	if err != nil {
		return // nobody is there who could have frozen anything
	}
	defer agent.Close()
	frozen, err := agent.Frozen(ctx)
	if err == nil && frozen {
		_, err = agent.Thaw(ctx)
		m.d.log.Info("thawed what was left frozen", "instance", m.id, "error", err)
	}
}
