package conductor

import (
	"context"
	"errors"
	"time"

	"leasehold/coord"
	"leasehold/vm"
)

const (
	// pruneFirst is when after its start, and pruneEvery how often then, one conductor looks for what the log keeps too
	// long. The first is soon, so that conductors which never run for an hour prune as well.
	pruneFirst = time.Minute
	pruneEvery = time.Hour
	// keepHistory and keepClosed bound the history of closed tasks, by age and by count; keepHistory the audit as well.
	keepHistory = 30 * 24 * time.Hour
	keepClosed  = 100_000
	// keepRequest is how long an idempotency key is known after its task has closed.
	keepRequest = 24 * time.Hour
	// prunePage is how many records one read takes, and prunePerTxn of how many one transaction removes all that hangs on
	// them: three keys each and the mark, within etcd's 128 operations.
	prunePage   = 500
	prunePerTxn = 30
)

// prune removes old history, its index, deleted instances' last records, used idempotency keys and old audit records. One
// conductor does it, by rank; two doing it at once would only be in each other's way.
func (c *Conductor) prune(ctx context.Context) error {
	timer := time.NewTimer(pruneFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			timer.Reset(pruneEvery)
		}
		if c.keeper.Current() == nil || c.members.Rank("prune", c.cfg.Name) != 0 {
			continue
		}
		n, err := c.Prune(ctx, time.Now())
		if err != nil {
			c.log.Warn("cannot prune the log", "error", err)
			continue
		}
		c.log.Info("pruned the log", "tasks", n)
	}
}

// Prune removes what the log keeps too long as of now, and returns how many closed tasks that were.
func (c *Conductor) Prune(ctx context.Context, now time.Time) (int, error) {
	n, err := c.pruneHistory(ctx, now, keepClosed)
	if err != nil {
		return n, err
	}
	if err := c.pruneRequests(ctx, now); err != nil {
		return n, err
	}
	return n, c.pruneAudit(ctx, now)
}

// pruneHistory removes closed tasks that are old, or more than most. Task ids grow with time, so it reads from the oldest
// on and stops at the first that is kept.
func (c *Conductor) pruneHistory(ctx context.Context, now time.Time, most int) (int, error) {
	total, err := c.store.Count(ctx, c.keys.HistoryRoot())
	if err != nil {
		return 0, err
	}
	excess := int(total) - most
	return c.pruneUnder(ctx, c.keys.HistoryRoot(), func(kv coord.KV) ([]coord.Write, bool, error) {
		task := new(vm.Task)
		if err := kv.Decode(task); err != nil {
			return nil, false, err
		}
		if excess <= 0 && task.EndedAt != nil && now.Sub(*task.EndedAt) < keepHistory {
			return nil, false, nil
		}
		excess--
		return c.forget(task), true, nil
	})
}

// forget is the removal of one closed task and what hangs on it.
func (c *Conductor) forget(task *vm.Task) []coord.Write {
	ws := []coord.Write{coord.Delete(c.keys.History(task.ID))}
	if task.Instance != "" {
		ws = append(ws, coord.Delete(c.keys.Index(vm.Resource{Kind: vm.KindInstance, ID: string(task.Instance)}, task.ID)))
		if task.Kind == vm.Delete && task.Status == vm.TaskSucceeded { // one that failed left the instance to another
			ws = append(ws, coord.Delete(c.keys.Gone(task.Instance)))
		}
	}
	return ws
}

// pruneRequests removes idempotency keys whose task closed long enough ago.
func (c *Conductor) pruneRequests(ctx context.Context, now time.Time) error {
	_, err := c.pruneUnder(ctx, c.keys.RequestRoot(), func(kv coord.KV) ([]coord.Write, bool, error) {
		var r vm.Request
		if err := kv.Decode(&r); err != nil {
			return nil, false, err
		}
		if now.Sub(r.At) < keepRequest {
			return nil, true, nil
		}
		task, _, err := c.findTask(ctx, r.Task)
		gone := vm.ReasonOf(err) == vm.ReasonNotFound
		if err != nil && !gone {
			return nil, false, err
		}
		if gone || task.EndedAt != nil && now.Sub(*task.EndedAt) >= keepRequest {
			return []coord.Write{coord.Delete(kv.Key)}, true, nil
		}
		return nil, true, nil
	})
	return err
}

// pruneAudit removes what says who removed a record long ago.
func (c *Conductor) pruneAudit(ctx context.Context, now time.Time) error {
	_, err := c.pruneUnder(ctx, c.keys.AuditRoot(), func(kv coord.KV) ([]coord.Write, bool, error) {
		var r removed
		if err := kv.Decode(&r); err != nil {
			return nil, false, err
		}
		if now.Sub(r.At) < keepHistory {
			return nil, true, nil
		}
		return []coord.Write{coord.Delete(kv.Key)}, true, nil
	})
	return err
}

// judge says what to write to remove a record of the log, nothing for one that is kept, and whether to go on to the next.
type judge func(coord.KV) (ws []coord.Write, more bool, err error)

// pruneUnder removes the records under root that judge condemns, in the order of their keys and in batches, and returns
// how many that were. A batch of which a record has changed meanwhile is left to the next time.
func (c *Conductor) pruneUnder(ctx context.Context, root string, judge judge) (int, error) {
	pruned, in, t := 0, 0, &coord.Txn{Name: "prune"}
	flush := func() error {
		if in == 0 {
			return nil
		}
		t.Then(coord.Put(c.keys.LogRoot()+"pruned", pruneMark{vm.Schema, time.Now().UTC()}).Witness())
		_, err := c.store.Commit(ctx, t)
		if _, changed := errors.AsType[*coord.ConflictError](err); err != nil && !changed {
			return err
		}
		if err == nil {
			pruned += in
		}
		in, t = 0, &coord.Txn{Name: "prune"}
		return nil
	}
	after := ""
	for {
		page, err := c.store.List(ctx, root, after, prunePage, false)
		if err != nil {
			return pruned, err
		}
		for _, kv := range page.KVs {
			after = kv.Key
			ws, more, err := judge(kv)
			if err != nil {
				return pruned, err
			}
			if len(ws) > 0 {
				t.If(coord.Unchanged(kv.Key, kv.Mod)).Then(ws...)
				in++
			}
			if in == prunePerTxn || !more {
				if err := flush(); err != nil {
					return pruned, err
				}
			}
			if !more {
				return pruned, nil
			}
		}
		if !page.More {
			err := flush()
			return pruned, err
		}
	}
}

// pruneMark says when the log was last pruned.
type pruneMark struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"`
}
