package conductor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

const (
	// historyPage is how many closed tasks one read takes, and historyScan how many one request looks at before it
	// answers with what it found: a filter that matches little must not read the whole history in one call.
	historyPage = 200
	historyScan = 5000
)

var taskStatuses = []vm.TaskStatus{
	vm.TaskWaiting, vm.TaskQueued, vm.TaskRunning, vm.TaskSucceeded, vm.TaskFailed, vm.TaskCancelled,
}

// listTasks lists tasks from the newest to the oldest: ids grow with time. Open ones come from the cache, closed ones from
// the log; the cache is looked at first, so a task that closes meanwhile is in one of them.
func (s *service) listTasks(ctx context.Context, req *conductorv1.ListTasksRequest, of vm.InstanceID, closed bool) (*conductorv1.ListTasksResponse, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := checkTaskFilters(req); err != nil {
		return nil, err
	}
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	query := strings.Join([]string{"tasks", string(who.project), string(of), req.GetStatus(), req.GetKind()}, "\x00")
	from, err := readCursor(req.GetPageToken(), query)
	if err != nil {
		return nil, err
	}
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	before := ""
	if from != nil {
		before = from.ID
	}
	out := &conductorv1.ListTasksResponse{Revision: s.c.cache.Revision()}
	wants := func(t *vm.Task) bool {
		return t.Project == who.project && (of == "" || t.Instance == of) && (before == "" || string(t.ID) < before) &&
			(req.GetStatus() == "" || string(t.Status) == req.GetStatus()) && (req.GetKind() == "" || string(t.Kind) == req.GetKind())
	}
	var found []rec[vm.Task]
	for _, t := range records[vm.Task](s.c, coord.Tasks) {
		if wants(t.is) {
			found = append(found, t)
		}
	}
	last := "" // the oldest that was looked at when the scan was cut short
	if closed {
		if found, last, err = s.c.history(ctx, found, of, before, limit, wants); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b rec[vm.Task]) int { return strings.Compare(string(b.is.ID), string(a.is.ID)) })
	if len(found) > limit {
		found = found[:limit]
		last = string(found[limit-1].is.ID)
	}
	if last != "" {
		out.NextPageToken = cursor{Query: query, ID: last}.token()
	}
	for _, t := range found {
		out.Tasks = append(out.Tasks, s.c.taskView(t.is, t.mod))
	}
	return out, nil
}

func checkTaskFilters(req *conductorv1.ListTasksRequest) error {
	if status := req.GetStatus(); status != "" && !slices.Contains(taskStatuses, vm.TaskStatus(status)) {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot list tasks with status %s: it is one of %s", shown(status),
			strings.Join(words(taskStatuses), ", "))
	}
	if kind := vm.Verb(req.GetKind()); kind != "" && kind != vm.Create && !slices.Contains(vm.Verbs(), kind) {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot list tasks of kind %s: it is create or one of %s", shown(req.GetKind()),
			strings.Join(words(vm.Verbs()), ", "))
	}
	return nil
}

// history adds closed tasks to the open ones until there is one more than a page, or historyScan were looked at: then last
// is where to go on. A task that is in both is the closed one.
func (c *Conductor) history(ctx context.Context, open []rec[vm.Task], of vm.InstanceID, before string, limit int, wants func(*vm.Task) bool,
) (found []rec[vm.Task], last string, err error) {
	found = open
	root := c.keys.HistoryRoot()
	if of != "" {
		root = c.keys.IndexOf(vm.Resource{Kind: vm.KindInstance, ID: string(of)})
	}
	after, scanned, matched := "", 0, 0
	if before != "" {
		after = root + before
	}
	for matched <= limit {
		page, err := c.store.List(ctx, root, after, historyPage, true)
		if err != nil {
			return nil, "", err
		}
		for _, kv := range page.KVs {
			after = kv.Key
			t, err := c.closedTask(ctx, kv, root)
			if err != nil {
				return nil, "", err
			}
			if t.is == nil || !wants(t.is) {
				continue
			}
			found = slices.DeleteFunc(found, func(x rec[vm.Task]) bool { return x.is.ID == t.is.ID })
			found = append(found, t)
			if matched++; matched > limit {
				return found, "", nil
			}
		}
		if scanned += len(page.KVs); scanned >= historyScan && page.More {
			// What is older than the last one seen comes with the next page, open ones too.
			last = after[len(root):]
			return slices.DeleteFunc(found, func(x rec[vm.Task]) bool { return string(x.is.ID) < last }), last, nil
		}
		if !page.More {
			break
		}
	}
	return found, "", nil
}

// closedTask is the task that an entry of the history, or of the index of one resource, stands for; none when it has been
// pruned.
func (c *Conductor) closedTask(ctx context.Context, kv coord.KV, root string) (t rec[vm.Task], err error) {
	if root != c.keys.HistoryRoot() {
		kv, err = c.store.Get(ctx, c.keys.History(vm.TaskID(kv.Key[len(root):])))
		if errors.Is(err, coord.ErrNotFound) {
			return t, nil
		}
		if err != nil {
			return t, err
		}
	}
	t.is, t.mod = new(vm.Task), kv.Mod
	return t, kv.Decode(t.is)
}
