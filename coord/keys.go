package coord

import (
	"fmt"
	"strings"

	"leasehold/vm"
)

// Table is the first part of a key after the prefix: one kind of record.
type Table string

// The tables under prefix/. Claims, locks and alive keys hang on leases.
const (
	Instances   Table = "instances"
	ObservedT   Table = "observed"
	Volumes     Table = "volumes"
	Ports       Table = "ports"
	Networks    Table = "networks"
	Images      Table = "images"
	Flavors     Table = "flavors"
	Hosts       Table = "hosts"
	Allocations Table = "allocations"
	Tasks       Table = "tasks"
	Cancels     Table = "cancels"
	Queue       Table = "queue"
	StoreT      Table = "store"
	Claims      Table = "claims"
	Locks       Table = "locks"
	Alive       Table = "alive"
	Names       Table = "names"
	Projects    Table = "projects"
)

// Keys builds every key of one store. The zero value is not usable; see NewKeys.
type Keys struct{ prefix string }

// NewKeys takes the prefix of the store, "/leasehold" by default: it begins with a slash and does not end with one.
func NewKeys(prefix string) (Keys, error) {
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") {
		return Keys{}, fmt.Errorf("cannot use prefix %q: it must begin with a slash and not end with one", prefix)
	}
	return Keys{prefix}, nil
}

// Prefix is what NewKeys was given.
func (k Keys) Prefix() string { return k.prefix }

// Root is the prefix of all live records: what the one watch is on.
func (k Keys) Root() string { return k.prefix + "/" }

// LogRoot is the prefix of what nobody needs to watch.
func (k Keys) LogRoot() string { return k.prefix + ".log/" }

// Table is the prefix of one table.
func (k Keys) Table(t Table) string { return k.Root() + string(t) + "/" }

// Store is the key of the schema and generation.
func (k Keys) Store() string { return k.Root() + string(StoreT) }

// Instance and the following are the keys of records.
func (k Keys) Instance(id vm.InstanceID) string { return k.Table(Instances) + string(id) }

// Observed is the key of what was last seen of an instance.
func (k Keys) Observed(id vm.InstanceID) string { return k.Table(ObservedT) + string(id) }

// Volume is the key of a volume.
func (k Keys) Volume(id vm.VolumeID) string { return k.Table(Volumes) + string(id) }

// Port is the key of a port.
func (k Keys) Port(id vm.PortID) string { return k.Table(Ports) + string(id) }

// Image is the key of an image.
func (k Keys) Image(id vm.ImageID) string { return k.Table(Images) + string(id) }

// Flavor is the key of a flavor.
func (k Keys) Flavor(name string) string { return k.Table(Flavors) + name }

// Project is the key of a project.
func (k Keys) Project(name vm.ProjectName) string { return k.Table(Projects) + string(name) }

// Host is the key of a host's record.
func (k Keys) Host(name vm.HostName) string { return k.Table(Hosts) + string(name) }

// Allocations is the key of what is promised on a host.
func (k Keys) Allocations(name vm.HostName) string { return k.Table(Allocations) + string(name) }

// Task is the key of an open task.
func (k Keys) Task(id vm.TaskID) string { return k.Table(Tasks) + string(id) }

// Cancel is the key of a cancel request.
func (k Keys) Cancel(id vm.TaskID) string { return k.Table(Cancels) + string(id) }

// Claim is the key that says which conductor works on a task. Leased.
func (k Keys) Claim(id vm.TaskID) string { return k.Table(Claims) + string(id) }

// Lock is the key that says who acts on a resource. Leased.
func (k Keys) Lock(r vm.Resource) string { return k.Table(Locks) + r.String() }

// QueueOf is the prefix of the tickets for one resource.
func (k Keys) QueueOf(r vm.Resource) string { return k.Table(Queue) + r.String() + "/" }

// Ticket is the key of a task's place in the queue of one resource.
func (k Keys) Ticket(r vm.Resource, t vm.TaskID) string { return k.QueueOf(r) + string(t) }

// AliveConductor is leased by the conductor's session.
func (k Keys) AliveConductor(n vm.ConductorName) string {
	return k.Table(Alive) + "conductor/" + string(n)
}

// AliveCompute is leased by the host's own lease.
func (k Keys) AliveCompute(n vm.HostName) string { return k.Table(Alive) + "compute/" + string(n) }

// Name is the key that makes a name unique per kind and project among live records; its value is the id.
func (k Keys) Name(kind vm.Kind, p vm.ProjectName, name string) string {
	return k.Table(Names) + string(kind) + "/" + string(p) + "/" + name
}

// Record is the key of a resource's record.
func (k Keys) Record(r vm.Resource) string { return k.Table(Table(string(r.Kind)+"s")) + r.ID }

// History is the key of a closed task.
func (k Keys) History(id vm.TaskID) string { return k.HistoryRoot() + string(id) }

// HistoryRoot is the prefix of closed tasks. Task ids grow with time, so the oldest come first.
func (k Keys) HistoryRoot() string { return k.LogRoot() + "history/" }

// IndexOf is the prefix of the history of one resource.
func (k Keys) IndexOf(r vm.Resource) string { return k.LogRoot() + "index/" + r.String() + "/" }

// Index is the key that lists a closed task under a resource.
func (k Keys) Index(r vm.Resource, t vm.TaskID) string { return k.IndexOf(r) + string(t) }

// Request is the key of an idempotency key.
func (k Keys) Request(p vm.ProjectName, key string) string {
	return k.RequestRoot() + string(p) + "/" + key
}

// RequestRoot is the prefix of all idempotency keys.
func (k Keys) RequestRoot() string { return k.LogRoot() + "requests/" }

// Gone is the key of a deleted instance's last record, kept as long as its history.
func (k Keys) Gone(id vm.InstanceID) string { return k.GoneRoot() + string(id) }

// GoneRoot is the prefix of deleted instances.
func (k Keys) GoneRoot() string { return k.LogRoot() + "gone/" }

// Audit is the key that says who last removed a record of that name.
func (k Keys) Audit(r vm.Resource) string { return k.AuditRoot() + r.String() }

// AuditRoot is the prefix of the audit.
func (k Keys) AuditRoot() string { return k.LogRoot() + "audit/" }

// Split takes a key under Root apart: its table and the rest. ok is false for a foreign key.
func (k Keys) Split(key string) (t Table, rest string, ok bool) {
	s, ok := strings.CutPrefix(key, k.Root())
	if !ok {
		return "", "", false
	}
	first, rest, _ := strings.Cut(s, "/")
	return Table(first), rest, true
}

// SplitResource takes kind/id or kind/id/more apart, as it stands behind Locks and Queue.
func SplitResource(rest string) (r vm.Resource, more string) {
	kind, id, _ := strings.Cut(rest, "/")
	id, more, _ = strings.Cut(id, "/")
	return vm.Resource{Kind: vm.Kind(kind), ID: id}, more
}
