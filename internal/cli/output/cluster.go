package output

import (
	"fmt"

	conductorv1 "leasehold/api/conductor/v1"
)

type (
	host          = conductorv1.Host
	image         = conductorv1.Image
	flavor        = conductorv1.Flavor
	lock          = conductorv1.Lock
	conductorInfo = conductorv1.ConductorInfo
)

var hostColumns = []column[*host]{
	{"name", always, func(_ view, h *host) string { return h.GetName() }},
	{"status", always, func(_ view, h *host) string {
		if h.GetFenced() != nil {
			return h.GetStatus() + " (fenced)"
		}
		return h.GetStatus()
	}},
	{"admin", always, func(_ view, h *host) string { return h.GetAdmin() }},
	{"driver", always, func(_ view, h *host) string { return h.GetDriver() }},
	{"version", wide, func(_ view, h *host) string { return h.GetVersion() }},
	{"instances", always, func(_ view, h *host) string { return number(int64(h.GetInstances())) }},
	{"vcpus", listOnly, func(_ view, h *host) string {
		return fmt.Sprintf("%d/%d", h.GetAllocated().GetVcpus(), h.GetCapacity().GetVcpus())
	}},
	{"memory mib", listOnly, func(_ view, h *host) string {
		return fmt.Sprintf("%d/%d", h.GetAllocated().GetMemoryMib(), h.GetCapacity().GetMemoryMib())
	}},
	{"disk gib", listOnly, func(_ view, h *host) string {
		return fmt.Sprintf("%d/%d", h.GetAllocated().GetDiskGib(), h.GetCapacity().GetDiskGib())
	}},
	{"capacity", details, func(_ view, h *host) string { return size(h.GetCapacity()) }},
	{"allocated", details, func(_ view, h *host) string { return size(h.GetAllocated()) }},
	{"address", wide, func(_ view, h *host) string { return h.GetAddress() }},
	{"epoch", wide, func(_ view, h *host) string { return number(h.GetEpoch()) }},
	{"since", always, func(v view, h *host) string { return v.age(h.GetSince()) }},
	{"fenced", details, func(v view, h *host) string { return signed(v, h.GetFenced()) }},
	{"powers", details, func(_ view, h *host) string { return words(h.GetPowers()) }},
	{"created", details, func(v view, h *host) string { return v.age(h.GetCreatedAt()) }},
	{"updated", details, func(v view, h *host) string { return v.age(h.GetUpdatedAt()) }},
	{"revision", details, func(_ view, h *host) string { return number(h.GetRevision()) }},
}

// signed is an operator's word: whose, why, and when.
func signed(v view, s *conductorv1.Signature) string {
	if s == nil {
		return ""
	}
	return s.GetReason() + "; signed by " + orDash(s.GetBy()) + " " + v.age(s.GetAt())
}

var imageColumns = []column[*image]{
	{"id", always, func(_ view, i *image) string { return i.GetId() }},
	{"name", always, func(_ view, i *image) string { return i.GetName() }},
	{"format", always, func(_ view, i *image) string { return i.GetFormat() }},
	{"size", always, func(_ view, i *image) string {
		if i.GetSizeBytes() == 0 {
			return ""
		}
		return Bytes(i.GetSizeBytes())
	}},
	{"status", always, func(_ view, i *image) string { return i.GetStatus() }},
	{"host", always, func(_ view, i *image) string { return i.GetHost() }},
	{"url", wide, func(_ view, i *image) string { return i.GetUrl() }},
	{"sha256", wide, func(_ view, i *image) string { return i.GetSha256() }},
	{"task", wide, func(v view, i *image) string { return v.id(i.GetTask()) }},
	{"age", listOnly, func(v view, i *image) string { return v.age(i.GetCreatedAt()) }},
	{"project", details, func(_ view, i *image) string { return i.GetProject() }},
	{"created", details, func(v view, i *image) string { return v.age(i.GetCreatedAt()) }},
	{"updated", details, func(v view, i *image) string { return v.age(i.GetUpdatedAt()) }},
	{"revision", details, func(_ view, i *image) string { return number(i.GetRevision()) }},
}

var flavorColumns = []column[*flavor]{
	{"name", always, func(_ view, f *flavor) string { return f.GetName() }},
	{"vcpus", always, func(_ view, f *flavor) string { return number(int64(f.GetVcpus())) }},
	{"memory mib", always, func(_ view, f *flavor) string { return number(int64(f.GetMemoryMib())) }},
	{"disk gib", always, func(_ view, f *flavor) string { return number(int64(f.GetDiskGib())) }},
	{"age", listOnly, func(v view, f *flavor) string { return v.age(f.GetCreatedAt()) }},
	{"created", details, func(v view, f *flavor) string { return v.age(f.GetCreatedAt()) }},
	{"updated", details, func(v view, f *flavor) string { return v.age(f.GetUpdatedAt()) }},
	{"revision", details, func(_ view, f *flavor) string { return number(f.GetRevision()) }},
}

var lockColumns = []column[*lock]{
	{"kind", always, func(_ view, l *lock) string { return l.GetKind() }},
	{"id", always, func(_ view, l *lock) string { return l.GetId() }},
	{"task", always, func(v view, l *lock) string { return v.id(l.GetTask()) }},
	{"doing", always, func(_ view, l *lock) string { return l.GetTaskKind() }},
	{"conductor", always, func(_ view, l *lock) string { return l.GetConductor() }},
	{"revision", wide, func(_ view, l *lock) string { return number(l.GetRevision()) }},
	{"since", always, func(v view, l *lock) string { return v.age(l.GetSince()) }},
}

var conductorColumns = []column[*conductorInfo]{
	{"name", always, func(_ view, c *conductorInfo) string {
		if c.GetSelf() {
			return c.GetName() + " (answers)"
		}
		return c.GetName()
	}},
	{"address", always, func(_ view, c *conductorInfo) string { return c.GetAddress() }},
	{"http", always, func(_ view, c *conductorInfo) string { return c.GetHttp() }},
	{"tasks", always, func(_ view, c *conductorInfo) string { return number(int64(c.GetTasks())) }},
	{"draining", wide, func(_ view, c *conductorInfo) string { return yes(c.GetDraining()) }},
	{"incarnation", wide, func(_ view, c *conductorInfo) string { return c.GetIncarnation() }},
	{"version", always, func(_ view, c *conductorInfo) string { return c.GetVersion() }},
	{"up", always, func(v view, c *conductorInfo) string { return v.age(c.GetStarted()) }},
}

var violationColumns = []column[*conductorv1.Violation]{
	{"promise", always, func(_ view, v *conductorv1.Violation) string { return v.GetPromise() }},
	{"violation", always, func(_ view, v *conductorv1.Violation) string { return v.GetMessage() }},
}

// Hosts prints a list of hosts; used and whole capacity stand in one column.
func (p Printer) Hosts(r *conductorv1.ListHostsResponse) error {
	return list(p, r, r.GetHosts(), hostColumns)
}

// Host prints one host.
func (p Printer) Host(h *host) error { return show(p, h, hostColumns) }

// Images prints a list of images.
func (p Printer) Images(r *conductorv1.ListImagesResponse) error {
	return list(p, r, r.GetImages(), imageColumns)
}

// Image prints one image.
func (p Printer) Image(i *image) error { return show(p, i, imageColumns) }

// Flavors prints a list of flavors.
func (p Printer) Flavors(r *conductorv1.ListFlavorsResponse) error {
	return list(p, r, r.GetFlavors(), flavorColumns)
}

// Flavor prints one flavor.
func (p Printer) Flavor(f *flavor) error { return show(p, f, flavorColumns) }

// Locks prints who holds what.
func (p Printer) Locks(r *conductorv1.ListLocksResponse) error {
	return list(p, r, r.GetLocks(), lockColumns)
}

// Conductors prints the replicas.
func (p Printer) Conductors(r *conductorv1.ListConductorsResponse) error {
	return list(p, r, r.GetConductors(), conductorColumns)
}

// Check prints what the invariant checker found.
func (p Printer) Check(r *conductorv1.CheckResponse) error {
	if p.Format.Structured() || len(r.GetViolations()) > 0 {
		return list(p, r, r.GetViolations(), violationColumns)
	}
	return p.write(fmt.Sprintf("no violations: %d instances and %d open tasks looked at, at revision %d\n",
		r.GetInstances(), r.GetOpenTasks(), r.GetRevision()))
}

// Empty prints the answer to a delete that is done at once: a line for people, {} for programs.
func (p Printer) Empty(e *conductorv1.Empty, what string) error {
	if p.Format.Structured() {
		return p.message(e)
	}
	return p.write(plain(what) + "\n")
}

// Version prints the version of vmctl: the bare word, or an object.
func (p Printer) Version(version string) error {
	switch p.Format {
	case JSON:
		return p.write(fmt.Sprintf("{%q: %q}\n", "version", version))
	case YAML:
		return p.write(fmt.Sprintf("version: %q\n", version))
	default:
		return p.write(version + "\n")
	}
}
