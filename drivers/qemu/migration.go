package qemu

import (
	"context"
	"fmt"
	"time"
)

// migration is how far QEMU is with copying the machine's memory, to a file or from one.
type migration struct {
	Status string `json:"status"`
	Error  string `json:"error-desc"`
	RAM    struct {
		Total     int64 `json:"total"`
		Remaining int64 `json:"remaining"`
	} `json:"ram"`
}

// ended says that nothing moves any more. The word is empty when nothing ever has.
func (q migration) ended() bool {
	switch q.Status {
	case "", "none", "completed", "failed", "cancelled":
		return true
	}
	return false
}

// migrationLook is how often QEMU is asked how far it is. A small guest takes some 20 ms in all.
const migrationLook = 10 * time.Millisecond

// endOfMigration waits until nothing moves and calls moved in between. A migration that failed is an error.
func (m *machine) endOfMigration(ctx context.Context, moved func(migration)) error {
	tick := time.NewTicker(migrationLook)
	defer tick.Stop()
	for {
		var q migration
		if err := m.main.do(ctx, "query-migrate", nil, &q); err != nil {
			return err
		}
		switch {
		case q.Status == "completed":
			return nil
		case q.ended() && q.Status != "" && q.Status != "none": // else it has not begun yet
			return fmt.Errorf("the copying of its memory has %s: %s", q.Status, q.Error)
		}
		moved(q)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for its memory: %w", context.Cause(ctx))
		}
	}
}

// cancelMigration returns when nothing moves.
func (m *machine) cancelMigration(ctx context.Context) error {
	tick := time.NewTicker(migrationLook)
	defer tick.Stop()
	for {
		var q migration
		if err := m.main.do(ctx, "query-migrate", nil, &q); err != nil || q.ended() {
			return err
		}
		if err := m.main.do(ctx, "migrate_cancel", nil, nil); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the end of a migration: %w", context.Cause(ctx))
		}
	}
}

// plain are the settings for a copying to a file. Capabilities stay with the process until they are set again, and some
// make a copying to a file hang. There is no limit worth having: nothing executes meanwhile.
func (m *machine) plain(ctx context.Context) error {
	type capability struct {
		Name  string `json:"capability"`
		State bool   `json:"state"`
	}
	off := []capability{}
	for _, name := range []string{
		"return-path", "pause-before-switchover", "late-block-activate", "postcopy-ram", "multifd", "xbzrle", "auto-converge",
	} {
		off = append(off, capability{Name: name})
	}
	if err := m.main.do(ctx, "migrate-set-capabilities", map[string]any{"capabilities": off}, nil); err != nil {
		return err
	}
	return m.main.do(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40}, nil)
}

// every returns a function that says, some times a second, that it is time to report.
func every(pause time.Duration) func() bool {
	var last time.Time
	return func() bool {
		now := time.Now()
		if now.Sub(last) < pause {
			return false
		}
		last = now
		return true
	}
}
