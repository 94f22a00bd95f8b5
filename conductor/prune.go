package conductor

import (
	"context"
	"errors"
	"time"

	"leasehold/coord"
	"leasehold/vm"
)

const (
	// pruneEvery is how often one conductor looks for what the log keeps too long.
	pruneEvery = time.Hour
	// keepHistory and keepClosed bound the history of closed tasks, by age and by count.
	keepHistory = 30 * 24 * time.Hour
	keepClosed  = 100_000
	// keepRequest is how long an idempotency key is known after its task has closed.
	keepRequest = 24 * time.Hour
	// prunePage is how many closed tasks one read, and prunePerTxn how many one transaction, takes.
	prunePage   = 500
	prunePerTxn = 30
)

// prune removes old history, its index, deleted instances' last records and used idempotency keys. One conductor does it,
// by rank; two doing it at once would only do it twice.
func (c *Conductor) prune(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if c.keeper.Current() == nil || c.members.Rank("prune", c.cfg.Name) != 0 {
			continue
		}
		n, err := c.Prune(ctx, time.Now())
		if err != nil {
			c.log.Warn("cannot prune the history", "error", err)
			continue
		}
		c.log.Info("pruned the history", "tasks", n)
	}
}

// Prune removes what the log keeps too long as of now, and returns how many closed tasks that were. Task ids grow with
// time, so it reads from the oldest on and stops at the first that is kept.
func (c *Conductor) Prune(ctx context.Context, now time.Time) (int, error) {
	total, err := c.countHistory(ctx)
	if err != nil {
		return 0, err
	}
	pruned, after := 0, ""
	for {
		page, err := c.store.List(ctx, c.keys.HistoryRoot(), after, prunePage, false)
		if err != nil {
			return pruned, err
		}
		t := &coord.Txn{Name: "prune"}
		in := 0
		done := false
		for _, kv := range page.KVs {
			task := new(vm.Task)
			if err := kv.Decode(task); err != nil {
				return pruned, err
			}
			if task.EndedAt != nil && now.Sub(*task.EndedAt) < keepHistory && total-pruned-in <= keepClosed {
				done = true
				break
			}
			c.forget(t, task)
			if in++; in%prunePerTxn == 0 {
				if err := c.flush(ctx, t); err != nil {
					return pruned, err
				}
				pruned, in = pruned+in, 0
				t = &coord.Txn{Name: "prune"}
			}
			after = kv.Key
		}
		if in > 0 {
			if err := c.flush(ctx, t); err != nil {
				return pruned, err
			}
			pruned += in
		}
		if done || !page.More {
			break
		}
	}
	return pruned, c.pruneRequests(ctx, now)
}

func (c *Conductor) countHistory(ctx context.Context) (int, error) {
	n, after := 0, ""
	for {
		page, err := c.store.List(ctx, c.keys.HistoryRoot(), after, prunePage, false)
		if err != nil {
			return 0, err
		}
		n += len(page.KVs)
		if !page.More {
			return n, nil
		}
		after = page.KVs[len(page.KVs)-1].Key
	}
}

// forget adds the removal of one closed task and what hangs on it.
func (c *Conductor) forget(t *coord.Txn, task *vm.Task) {
	t.Then(coord.Delete(c.keys.History(task.ID)))
	if task.Instance != "" {
		t.Then(coord.Delete(c.keys.Index(vm.Resource{Kind: vm.KindInstance, ID: string(task.Instance)}, task.ID)))
		if task.Kind == vm.Delete {
			t.Then(coord.Delete(c.keys.Gone(task.Instance)))
		}
	}
}

// flush writes a batch of removals. They compare nothing: what is removed is closed for good.
func (c *Conductor) flush(ctx context.Context, t *coord.Txn) error {
	t.Then(coord.Put(c.keys.LogRoot()+"pruned", pruneMark{vm.Schema, time.Now().UTC()}).Witness())
	_, err := c.store.Commit(ctx, t)
	return err
}

// pruneMark says when the log was last pruned.
type pruneMark struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"`
}

// pruneRequests removes idempotency keys whose task closed long enough ago.
func (c *Conductor) pruneRequests(ctx context.Context, now time.Time) error {
	after := ""
	for {
		page, err := c.store.List(ctx, c.keys.RequestRoot(), after, prunePage, false)
		if err != nil {
			return err
		}
		t := &coord.Txn{Name: "prune"}
		for _, kv := range page.KVs {
			after = kv.Key
			var r vm.Request
			if err := kv.Decode(&r); err != nil {
				return err
			}
			if now.Sub(r.At) < keepRequest || len(t.Writes) >= prunePerTxn {
				continue
			}
			task, _, err := c.findTask(ctx, r.Task)
			gone := vm.ReasonOf(err) == vm.ReasonNotFound
			if err != nil && !gone {
				return err
			}
			if gone || task.EndedAt != nil && now.Sub(*task.EndedAt) >= keepRequest {
				t.Then(coord.Delete(kv.Key))
			}
		}
		if len(t.Writes) > 0 {
			if err := c.flush(ctx, t); err != nil && !errors.Is(err, coord.ErrNotFound) {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}
