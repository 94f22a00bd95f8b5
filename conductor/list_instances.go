package conductor

import (
	"context"
	"slices"
	"strings"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// orders are the words that instances can be sorted by.
var orders = map[string]func(rec[vm.Instance]) string{
	"name":       func(i rec[vm.Instance]) string { return i.is.Name },
	"created_at": func(i rec[vm.Instance]) string { return sortable(i.is.CreatedAt) },
	"state":      func(i rec[vm.Instance]) string { return string(i.is.State) },
	"host":       func(i rec[vm.Instance]) string { return string(i.is.Host) },
}

// ListInstances lists the project's instances, filtered, sorted and in pages.
func (s *service) ListInstances(ctx context.Context, req *conductorv1.ListInstancesRequest) (*conductorv1.ListInstancesResponse, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	key, desc, err := orderOf(req.GetSort())
	if err != nil {
		return nil, err
	}
	if state := req.GetState(); state != "" && !slices.Contains(vm.States(), vm.State(state)) {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot list instances in state %s: it is one of %s", shown(state),
			strings.Join(words(vm.States()), ", "))
	}
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	revision := s.c.cache.Revision()
	list := listing[rec[vm.Instance]]{
		id: func(i rec[vm.Instance]) string { return string(i.is.ID) }, key: key, desc: desc,
		query: strings.Join([]string{
			"instances", string(who.project), req.GetState(), req.GetHost(), req.GetName(), req.GetLabel(), req.GetSort(),
		}, "\x00"),
	}
	for _, in := range records[vm.Instance](s.c, coord.Instances) {
		if in.is.Project == who.project && wantsInstance(req, in.is) {
			list.items = append(list.items, in)
		}
	}
	part, next, err := list.page(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &conductorv1.ListInstancesResponse{NextPageToken: next, Revision: revision}
	for _, in := range part {
		out.Instances = append(out.Instances, s.c.instanceView(in.is, in.mod))
	}
	return out, nil
}

func orderOf(sort string) (key func(rec[vm.Instance]) string, desc bool, err error) {
	word, desc := strings.CutPrefix(sort, "-")
	if word == "" && !desc {
		word = "created_at"
	}
	key, ok := orders[word]
	if !ok {
		return nil, false, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot sort instances by %s: by name, created_at, state or host, with a - before it to reverse", shown(sort))
	}
	return key, desc, nil
}

func wantsInstance(req *conductorv1.ListInstancesRequest, in *vm.Instance) bool {
	if label := req.GetLabel(); label != "" {
		key, value, exact := strings.Cut(label, "=")
		has, ok := in.Metadata[key]
		if !ok || exact && has != value {
			return false
		}
	}
	return (string(in.State) == req.GetState() || req.GetState() == "" && in.State != vm.Deleted) &&
		(req.GetHost() == "" || string(in.Host) == req.GetHost()) &&
		(req.GetName() == "" || in.Name == req.GetName())
}

// records is a whole table of the cache, decoded.
func records[T any](c *Conductor, t coord.Table) []rec[T] {
	entries := c.cache.Entries(t)
	out := make([]rec[T], 0, len(entries))
	for _, e := range entries {
		r, err := coord.Decoded[T](e)
		if err != nil {
			c.log.Error("cannot read a record", "key", e.Key, "error", err)
			continue
		}
		out = append(out, rec[T]{r, e.Mod})
	}
	return out
}
