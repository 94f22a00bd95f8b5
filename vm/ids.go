package vm

import (
	"fmt"
	"strings"
)

// InstanceID, TaskID, VolumeID, PortID, NetworkID and ImageID are UUIDv7 strings, made by whoever admits the record.
type (
	InstanceID string
	TaskID     string
	VolumeID   string
	PortID     string
	NetworkID  string
	ImageID    string
)

// HostName and ConductorName are chosen by the operator: letters, digits, dot, dash and underscore, at most 63.
type (
	HostName      string
	ConductorName string
	ProjectName   string
)

// Kind is the kind of a resource as it stands in keys: instance, volume, port, network, image, flavor, host.
type Kind string

// The kinds of resources.
const (
	KindInstance Kind = "instance"
	KindVolume   Kind = "volume"
	KindPort     Kind = "port"
	KindNetwork  Kind = "network"
	KindImage    Kind = "image"
	KindFlavor   Kind = "flavor"
	KindHost     Kind = "host"
)

// Resource names one record. Its text form is kind/id.
type Resource struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

func (r Resource) String() string { return string(r.Kind) + "/" + r.ID }

// Compare orders resources by kind, then id: the one order in which sets of them are written.
func (r Resource) Compare(o Resource) int {
	if c := strings.Compare(string(r.Kind), string(o.Kind)); c != 0 {
		return c
	}
	return strings.Compare(r.ID, o.ID)
}

// Fence orders the holders of a task's claim: generation first, then the etcd revision of the transaction that wrote
// the claim. The generation changes only when an operator restores or replaces the store, which may set revisions back.
type Fence struct {
	Generation int64 `json:"generation"`
	Revision   int64 `json:"revision"`
}

// Compare is negative when f is older than o.
func (f Fence) Compare(o Fence) int {
	switch {
	case f.Generation != o.Generation:
		return sign(f.Generation - o.Generation)
	default:
		return sign(f.Revision - o.Revision)
	}
}

// IsZero says whether no fence was ever given.
func (f Fence) IsZero() bool { return f == Fence{} }

func (f Fence) String() string { return fmt.Sprintf("%d.%d", f.Generation, f.Revision) }

func sign(d int64) int {
	switch {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return 0
}

// MiB and GiB are sizes; a bare int never carries one.
type (
	MiB int64
	GiB int64
)
