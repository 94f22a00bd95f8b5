package conductor

import (
	"cmp"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// The views are the records as people see them: with what other records say of the same thing.

const (
	hostUp   = "up"
	hostDown = "down"
)

// admittedView answers what became a task.
func (c *Conductor) admittedView(a *Admitted) *conductorv1.InstanceTask {
	out := &conductorv1.InstanceTask{Revision: a.Revision}
	if a.Instance != nil {
		out.Instance = c.instanceView(a.Instance, a.InstRev)
	}
	if a.Task != nil {
		out.Task = c.taskView(a.Task, a.Revision)
	}
	if a.Saves != nil {
		out.Image = imageView(a.Saves, a.Revision)
	}
	return out
}

func (c *Conductor) instanceView(in *vm.Instance, rev int64) *conductorv1.Instance {
	v := &conductorv1.Instance{
		Id: string(in.ID), Name: in.Name, Project: string(in.Project), VmState: string(in.State), TaskState: string(in.TaskState),
		PowerState: string(vm.PowerNoState), Task: string(in.Task), Host: string(in.Host), Flavor: in.Flavor,
		Image: string(in.Image), Size: sizeView(in.Size), Volumes: words(in.Volumes), Ports: words(in.Ports),
		Footprint: words(in.Footprint), Metadata: in.Metadata, Availability: string(in.Availability),
		DeleteProtection: in.DeleteProtection, Error: faultView(in.Error), CreatedAt: at(in.CreatedAt),
		UpdatedAt: at(in.UpdatedAt), Since: at(in.Since), Revision: rev,
	}
	v.OnHostBoot, v.Remains = string(cmp.Or(in.OnHostBoot, vm.HostBootRestart)), words(in.Remains)
	if r := in.Rescue; r != nil {
		v.Rescue = &conductorv1.Rescue{Image: string(r.Image), Since: at(r.Since)}
	}
	if in.Host != "" {
		v.HostStatus = c.hostStatus(in.Host)
	}
	if v.GetHostStatus() == hostDown {
		v.HostDownSince = at(c.downSince(in.Host))
	}
	if o, _, ok := coord.Load[vm.Observed](c.cache, c.keys.Observed(in.ID)); ok {
		v.PowerState, v.PowerDetail, v.ObservedAt = string(o.PowerState), o.Detail, at(o.SeenAt)
	}
	return v
}

func (c *Conductor) hostStatus(h vm.HostName) string {
	if c.hostAlive(h) {
		return hostUp
	}
	return hostDown
}

func (c *Conductor) taskView(t *vm.Task, rev int64) *conductorv1.Task {
	v := &conductorv1.Task{
		Id: string(t.ID), Kind: string(t.Kind), Status: string(t.Status), Project: string(t.Project), Instance: string(t.Instance),
		Hosts: words(t.Hosts), Conductor: c.driverOf(t), Cancels: string(t.Cancels), Error: faultView(t.Error),
		Progress: progressView(c.progressOf(t)), Waiting: waitView(c.waitingOf(t)),
		CreatedAt: at(t.CreatedAt), UpdatedAt: at(t.UpdatedAt), EndedAt: atOr(t.EndedAt), Revision: rev,
	}
	for _, r := range t.Resources {
		v.Resources = append(v.Resources, resourceView(&r))
	}
	for _, r := range t.Shared {
		v.Resources = append(v.Resources, resourceView(&r))
	}
	for _, s := range t.Steps {
		v.Steps = append(v.Steps, &conductorv1.Step{
			Name: s.Name, Status: string(s.Status), Host: string(s.Host), Error: s.Error, Try: clamp(s.Try),
			StartedAt: at(s.StartedAt), EndedAt: atOr(s.EndedAt),
		})
	}
	for _, a := range t.Attempts {
		attempt := &conductorv1.Attempt{Conductor: string(a.Conductor), Since: at(a.Since), Why: a.Why}
		if a.Fence != nil {
			attempt.Fence = a.Fence.String()
		}
		v.Attempts = append(v.Attempts, attempt)
	}
	return v
}

// driverOf is the conductor that has the claim of an open task; empty when nobody has.
func (c *Conductor) driverOf(t *vm.Task) string {
	if t.Status.Terminal() {
		return ""
	}
	if c.workers.get(t.ID) != nil { // it may have admitted it just now, before its cache knows
		return string(c.cfg.Name)
	}
	if claim, _, ok := coord.Load[vm.Claim](c.cache, c.keys.Claim(t.ID)); ok {
		return string(claim.Conductor)
	}
	return ""
}

// progressOf is the last that this conductor heard, when it drives the task, else the last that was made durable.
func (c *Conductor) progressOf(t *vm.Task) *vm.Progress {
	if w := c.workers.get(t.ID); w != nil && !t.Status.Terminal() {
		if p := w.progress.Load(); p != nil {
			return p
		}
	}
	return t.Progress
}

func (c *Conductor) hostView(h *vm.Host, rev int64) *conductorv1.Host {
	a, _ := c.allocations.of(h.Name)
	v := &conductorv1.Host{
		Id: string(h.ID), Name: string(h.Name), Status: hostDown, Admin: string(h.Admin), Driver: h.Driver, Version: h.Version,
		Epoch: h.Epoch, Capacity: sizeView(h.Capacity), Allocated: sizeView(a.Sum), Instances: clamp(len(a.Instances)),
		Since: at(c.downSince(h.Name)), Powers: h.Powers, CreatedAt: at(h.CreatedAt), UpdatedAt: at(h.UpdatedAt), Revision: rev,
	}
	if alive, ok := c.hosts.alive(h.Name); ok {
		v.Status, v.Address, v.Since = hostUp, alive.Address, at(alive.Started)
	}
	if f := h.Fenced; f != nil {
		v.Fenced = &conductorv1.Signature{By: f.By, Reason: f.Reason, At: at(f.At)}
	}
	return v
}

func imageView(i *vm.Image, rev int64) *conductorv1.Image {
	return &conductorv1.Image{
		Id: string(i.ID), Name: i.Name, Project: string(i.Project), Url: i.URL, Format: i.Format, Sha256: i.SHA256,
		SizeBytes: i.SizeBytes, Status: string(cmp.Or(i.Status, vm.ImageActive)), Task: string(i.Task), Host: string(i.Host), CreatedAt: at(i.CreatedAt), UpdatedAt: at(i.UpdatedAt), Revision: rev,
	}
}

func flavorView(f *vm.Flavor, rev int64) *conductorv1.Flavor {
	size := sizeView(f.Size)
	return &conductorv1.Flavor{
		Id: f.ID, Name: f.Name, Vcpus: size.GetVcpus(), MemoryMib: size.GetMemoryMib(), DiskGib: size.GetDiskGib(),
		CreatedAt: at(f.CreatedAt), UpdatedAt: at(f.UpdatedAt), Revision: rev,
	}
}

func sizeView(s vm.Size) *conductorv1.Size {
	return &conductorv1.Size{Vcpus: clamp(s.VCPUs), MemoryMib: clamp(s.MemoryMiB), DiskGib: clamp(s.DiskGiB)}
}

func resourceView(r *vm.Resource) *conductorv1.ResourceName {
	if r == nil {
		return nil
	}
	return &conductorv1.ResourceName{Kind: string(r.Kind), Id: r.ID}
}

func faultView(f *vm.Fault) *conductorv1.Fault {
	if f == nil {
		return nil
	}
	return &conductorv1.Fault{
		Reason: string(f.Reason), Message: f.Message, Allowed: words(f.Allowed), Task: string(f.Task), Since: at(f.Since),
	}
}

func progressView(p *vm.Progress) *conductorv1.Progress {
	if p == nil {
		return nil
	}
	return &conductorv1.Progress{Phase: p.Phase, Done: p.Done, Total: p.Total, Unit: p.Unit, Note: p.Note, At: at(p.At)}
}

func waitView(w *vm.Wait) *conductorv1.Wait {
	if w == nil {
		return nil
	}
	return &conductorv1.Wait{
		Reason: string(w.Reason), Message: w.Message, On: resourceView(w.On), Holder: w.Holder, Since: at(w.Since),
		RetryAt: at(w.RetryAt),
	}
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}

// at is a moment on the wire; the zero time is none.
func at(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func atOr(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return at(*t)
}

// clamp makes a number fit the wire.
func clamp[T ~int | ~int64](n T) int32 {
	return int32(max(math.MinInt32, min(math.MaxInt32, int64(n)))) //nolint:gosec // just bounded
}
