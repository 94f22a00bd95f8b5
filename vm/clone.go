package vm

import (
	"maps"
	"slices"
)

// Clone copies the instance and everything it points to.
func (i *Instance) Clone() *Instance {
	c := *i
	c.Volumes, c.Ports, c.Footprint = slices.Clone(i.Volumes), slices.Clone(i.Ports), slices.Clone(i.Footprint)
	c.Metadata = maps.Clone(i.Metadata)
	c.Remains = slices.Clone(i.Remains)
	c.Rescue, c.HiddenAt = copied(i.Rescue), copied(i.HiddenAt)
	if i.Error != nil {
		f := *i.Error
		f.Allowed = slices.Clone(f.Allowed)
		c.Error = &f
	}
	return &c
}

// Clone copies the task and everything it points to.
func (t *Task) Clone() *Task {
	c := *t
	c.Resources, c.Shared = slices.Clone(t.Resources), slices.Clone(t.Shared)
	c.Hosts, c.Params = slices.Clone(t.Hosts), slices.Clone(t.Params)
	c.Steps, c.Attempts = slices.Clone(t.Steps), slices.Clone(t.Attempts)
	c.Progress, c.Waiting, c.Error = copied(t.Progress), copied(t.Waiting), copied(t.Error)
	c.EndedAt = copied(t.EndedAt)
	return &c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
