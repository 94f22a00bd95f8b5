package vm

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
)

// Schema is the version written into every record. A reader refuses a record with a larger one.
const Schema = 1

// Instance is the record of one machine. Key: instances/<id>. Written only in transactions that compare its mod revision.
type Instance struct {
	Schema           int               `json:"schema"`
	ID               InstanceID        `json:"id"`
	Name             string            `json:"name"`
	Project          ProjectName       `json:"project"`
	State            State             `json:"vm_state"`
	TaskState        TaskState         `json:"task_state"`
	Task             TaskID            `json:"task"` // the reservation: empty when idle
	Host             HostName          `json:"host"` // where it runs or will run; empty until placed
	Flavor           string            `json:"flavor"`
	Image            ImageID           `json:"image"`
	Size             Size              `json:"size"` // copied from the flavor when created
	Volumes          []VolumeID        `json:"volumes"`
	Ports            []PortID          `json:"ports"`
	Footprint        []HostName        `json:"footprint"`           // hosts that may hold anything of it
	HiddenAt         *time.Time        `json:"hidden_at,omitempty"` // when a delete that has to wait took it out of lists and gave its name back
	Metadata         map[string]string `json:"metadata"`
	Availability     Availability      `json:"availability"`
	OnHostBoot       OnHostBoot        `json:"on_host_boot,omitempty"`
	DeleteProtection bool              `json:"delete_protection,omitempty"`
	Rescue           *RescueDisk       `json:"rescue,omitempty"`  // until unrescue or rebuild, through stop, pause and suspend
	Remains          []HostName        `json:"remains,omitempty"` // of a deleted one: hosts that are down and may hold something of it
	Error            *Fault            `json:"error,omitempty"`   // set when State is error
	CreatedAt        time.Time         `json:"created_at"`
	UpdatedAt        time.Time         `json:"updated_at"`
	Since            time.Time         `json:"since"` // when State was entered
}

// Availability says what happens to an instance whose host is isolated. AvailabilityNone is the default.
type Availability string

// The values of Availability.
const (
	AvailabilityNone    Availability = "none"
	AvailabilityRestart Availability = "restart"
)

// OnHostBoot says what becomes of an instance whose host was rebooted under it. Empty means HostBootRestart.
type OnHostBoot string

// The values of OnHostBoot.
const (
	HostBootRestart OnHostBoot = "restart" // what ran is started again
	HostBootStopped OnHostBoot = "stopped" // it stays off
)

// RescueDisk is the disk that an instance starts from while its own is being repaired.
type RescueDisk struct {
	Image ImageID   `json:"image"`
	Since time.Time `json:"since"`
}

// Size is what an instance takes from its host.
type Size struct {
	VCPUs     int `json:"vcpus"`
	MemoryMiB MiB `json:"memory_mib"`
	DiskGiB   GiB `json:"disk_gib"`
}

// Plus is the sum of two sizes; Minus the difference.
func (s Size) Plus(o Size) Size {
	return Size{s.VCPUs + o.VCPUs, s.MemoryMiB + o.MemoryMiB, s.DiskGiB + o.DiskGiB}
}

// Minus is s less o. It may go below zero when o was never added; the invariant checker looks for that.
func (s Size) Minus(o Size) Size {
	return Size{s.VCPUs - o.VCPUs, s.MemoryMiB - o.MemoryMiB, s.DiskGiB - o.DiskGiB}
}

// Fits says whether s is at most o in every part.
func (s Size) Fits(o Size) bool {
	return s.VCPUs <= o.VCPUs && s.MemoryMiB <= o.MemoryMiB && s.DiskGiB <= o.DiskGiB
}

// Fault says why something failed and what can repair it.
type Fault struct {
	Reason  Reason    `json:"reason"`
	Message string    `json:"message"`
	Allowed []Verb    `json:"allowed,omitempty"` // legal now beside delete
	Task    TaskID    `json:"task,omitempty"`
	Since   time.Time `json:"since"`
}

// Observed is what was last seen of an instance on its host. Key: observed/<instance>. Ordered by (Epoch, Fence, Sequence)
// and accepted from the owning host only.
type Observed struct {
	Schema     int        `json:"schema"`
	ID         InstanceID `json:"id"`
	Host       HostName   `json:"host"`
	PowerState PowerState `json:"power_state"`
	Detail     string     `json:"detail,omitempty"` // the hypervisor's own word
	Epoch      int64      `json:"epoch"`
	Fence      Fence      `json:"fence"`
	Sequence   int64      `json:"sequence"`
	SeenAt     time.Time  `json:"seen_at"`
}

// Newer says whether o was seen after was: by epoch, then fence, then sequence.
func (o Observed) Newer(was Observed) bool {
	return cmp.Or(cmp.Compare(o.Epoch, was.Epoch), o.Fence.Compare(was.Fence), cmp.Compare(o.Sequence, was.Sequence)) > 0
}

// Volume, Port and Network are records whose own life is still to be built; what belongs to an instance is locked with it.
type Volume struct {
	Schema      int          `json:"schema"`
	ID          VolumeID     `json:"id"`
	Name        string       `json:"name"`
	Project     ProjectName  `json:"project"`
	Task        TaskID       `json:"task"`
	SizeGiB     GiB          `json:"size_gib"`
	MultiAttach bool         `json:"multi_attach"`
	Attachments []InstanceID `json:"attachments"`
	CreatedAt   time.Time    `json:"created_at"`
	UpdatedAt   time.Time    `json:"updated_at"`
}

// Port is a network card's identity on a network.
type Port struct {
	Schema    int         `json:"schema"`
	ID        PortID      `json:"id"`
	Name      string      `json:"name"`
	Project   ProjectName `json:"project"`
	Task      TaskID      `json:"task"`
	Network   NetworkID   `json:"network"`
	Instance  InstanceID  `json:"instance"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
}

// Image is a bootable disk. URL is builtin:<name>, file:///path, http://, https://, or host://<host>/<id> of a snapshot.
type Image struct {
	Schema    int         `json:"schema"`
	ID        ImageID     `json:"id"`
	Name      string      `json:"name"`
	Project   ProjectName `json:"project"`
	URL       string      `json:"url"`
	Format    string      `json:"format"` // raw or qcow2
	SHA256    string      `json:"sha256,omitempty"`
	SizeBytes int64       `json:"size_bytes,omitempty"`
	Status    ImageStatus `json:"status,omitempty"`
	Task      TaskID      `json:"task,omitempty"` // the snapshot that makes it: while saving
	Host      HostName    `json:"host,omitempty"` // of a snapshot: where its file is
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
}

// ImageStatus says whether an image can be used. Empty means ImageActive.
type ImageStatus string

// The values of ImageStatus.
const (
	ImageActive ImageStatus = "active"
	ImageSaving ImageStatus = "saving" // a snapshot makes it
)

// Flavor is a named Size.
type Flavor struct {
	Schema    int       `json:"schema"`
	ID        string    `json:"id"` // same as Name
	Name      string    `json:"name"`
	Size      Size      `json:"size"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// HostAdmin is what the operator wants of a host.
type HostAdmin string

// The values of HostAdmin.
const (
	HostEnabled  HostAdmin = "enabled"
	HostDisabled HostAdmin = "disabled" // runs what it has, gets nothing new
	HostDraining HostAdmin = "draining"
	HostRemoved  HostAdmin = "removed" // for good: its record goes when nothing names it any more
)

// Host is the record of one compute host. Key: hosts/<name>. That it is alive is another fact: alive/compute/<name>.
type Host struct {
	Schema   int       `json:"schema"`
	ID       HostName  `json:"id"` // same as Name
	Name     HostName  `json:"name"`
	Driver   string    `json:"driver"`
	Version  string    `json:"version"` // of the hypervisor
	Capacity Size      `json:"capacity"`
	Admin    HostAdmin `json:"admin"`
	DataDir  string    `json:"data_dir_id"` // identity of the agent's data directory
	Epoch    int64     `json:"epoch"`       // grows with each new data directory and each boot of the machine
	Boot     string    `json:"boot_id"`     // the kernel's boot id when the epoch was given
	Lease    int64     `json:"lease"`       // of the newest registration: the only one that may be activated
	// PublicKey is what secrets for this host are sealed to; its agent alone has the other half.
	PublicKey []byte     `json:"public_key,omitempty"`
	Powers    []string   `json:"powers,omitempty"` // of its driver
	DownSince *time.Time `json:"down_since,omitempty"`
	Fenced    *Signature `json:"fenced,omitempty"` // for as long as it is down
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// Signature is an operator's word for what no machine can prove.
type Signature struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Allocations is what is promised on one host. Key: allocations/<host>. Invariant: Sum is the sum of Instances and fits
// the host's capacity; every placement compares its mod revision.
type Allocations struct {
	Schema    int                 `json:"schema"`
	ID        HostName            `json:"id"`
	Name      HostName            `json:"name"`
	Instances map[InstanceID]Size `json:"instances"`
	Sum       Size                `json:"sum"`
}

// Task is one durable unit of work. Key: tasks/<id> while open, log history/<id> when closed.
type Task struct {
	Schema     int             `json:"schema"`
	ID         TaskID          `json:"id"`
	Kind       Verb            `json:"kind"`
	Mode       string          `json:"mode,omitempty"` // the way of it that the table of actions chose
	Status     TaskStatus      `json:"status"`
	Project    ProjectName     `json:"project"`
	Instance   InstanceID      `json:"instance,omitempty"`
	Resources  []Resource      `json:"resources"` // the closure: what it reserves and locks, sorted
	Shared     []Resource      `json:"shared,omitempty"`
	Hosts      []HostName      `json:"hosts"` // touched, or about to be: fenced by a takeover
	Params     json.RawMessage `json:"params,omitempty"`
	Steps      []Step          `json:"steps"`
	Attempts   []Attempt       `json:"attempts"` // the first and the newest ones, see AddAttempt
	Dropped    int             `json:"attempts_dropped,omitempty"`
	Progress   *Progress       `json:"progress,omitempty"`
	Waiting    *Wait           `json:"waiting,omitempty"` // why it does not move, when it does not
	Prior      State           `json:"prior,omitempty"`   // vm_state at admission
	Cancels    TaskID          `json:"cancels,omitempty"` // the task that this delete preempted
	RequestKey string          `json:"request_key,omitempty"`
	RequestBy  string          `json:"request_by,omitempty"`
	Error      *Fault          `json:"error,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
	EndedAt    *time.Time      `json:"ended_at,omitempty"`
}

// keptAttempts bounds the record of a task that is handed from conductor to conductor for days.
const keptAttempts = 16

// AddAttempt notes that another conductor has its turn. Of many attempts the first and the newest are kept.
func (t *Task) AddAttempt(a Attempt) {
	t.Attempts = append(t.Attempts, a)
	if over := len(t.Attempts) - keptAttempts; over > 0 {
		t.Attempts = append(t.Attempts[:1], t.Attempts[1+over:]...)
		t.Dropped += over
	}
}

// Short cuts what a hypervisor or a network said to a length that a record can bear many times.
func Short(message string) string {
	const most = 300
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + " ..."
}

// StepStatus says how far a step is. An intent is durable before its effect: a step found doing may have had any effect.
type StepStatus string

// The values of StepStatus.
const (
	StepDoing   StepStatus = "doing"
	StepDone    StepStatus = "done"
	StepFailed  StepStatus = "failed" // do failed for good; undo may follow
	StepUndoing StepStatus = "undoing"
	StepUndone  StepStatus = "undone"
)

// Step is one entry of a task's intent journal.
type Step struct {
	Name      string     `json:"name"`
	Status    StepStatus `json:"status"`
	Host      HostName   `json:"host,omitempty"`
	Error     string     `json:"error,omitempty"`
	Reason    Reason     `json:"reason,omitempty"` // of Error
	Try       int        `json:"try,omitempty"`    // of do, from 1
	StartedAt time.Time  `json:"started_at"`
	RetryAt   time.Time  `json:"retry_at,omitzero"` // of the try that follows one that failed
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// Attempt is one conductor's turn at a task.
type Attempt struct {
	Conductor ConductorName `json:"conductor"`
	Fence     *Fence        `json:"fence,omitempty"` // known from the next transaction on: a fence is the revision of its own write
	Since     time.Time     `json:"since"`
	Why       string        `json:"why"` // admitted, takeover, granted, ...
}

// Progress tells a slow step from a silent one. Done and Total are in Unit; Total 0 means unknown.
type Progress struct {
	Phase string    `json:"phase"`
	Done  int64     `json:"done"`
	Total int64     `json:"total"`
	Unit  string    `json:"unit,omitempty"`
	Note  string    `json:"note,omitempty"`
	At    time.Time `json:"at"`
}

// Wait says why a task does not move: what for, held by whom, since when, and when it is tried next.
type Wait struct {
	Reason  Reason    `json:"reason"`
	Message string    `json:"message"`
	On      *Resource `json:"on,omitempty"`
	Holder  string    `json:"holder,omitempty"`
	Since   time.Time `json:"since"`
	RetryAt time.Time `json:"retry_at,omitzero"`
}

// Claim is the value of claims/<task>. Its create revision is the fence of the attempt.
type Claim struct {
	Schema      int           `json:"schema"`
	Conductor   ConductorName `json:"conductor"`
	Incarnation string        `json:"incarnation"` // the session's lease id in hex
	Since       time.Time     `json:"since"`
}

// Lock is the value of locks/<kind>/<id>.
type Lock struct {
	Schema      int           `json:"schema"`
	Task        TaskID        `json:"task"`
	Conductor   ConductorName `json:"conductor"`
	Incarnation string        `json:"incarnation"`
	Since       time.Time     `json:"since"`
}

// Ticket is the value of queue/<kind>/<id>/<task>; its create revision is its place in every queue it stands in.
type Ticket struct {
	Schema int       `json:"schema"`
	Task   TaskID    `json:"task"`
	Since  time.Time `json:"since"`
}

// Cancel is the value of cancels/<task>: a key of its own, so that a checkpoint cannot erase it.
type Cancel struct {
	Schema int       `json:"schema"`
	Task   TaskID    `json:"task"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Store is the value of the key store.
type Store struct {
	Schema     int       `json:"schema"`
	ID         string    `json:"id"`
	Generation int64     `json:"generation"`
	SeededAt   time.Time `json:"seeded_at"`
}

// AliveConductor is the value of alive/conductor/<name>.
type AliveConductor struct {
	Schema      int           `json:"schema"`
	ID          ConductorName `json:"id"`
	Name        ConductorName `json:"name"`
	Address     string        `json:"address"` // gRPC host:port
	HTTP        string        `json:"http"`
	Version     string        `json:"version"`
	Incarnation string        `json:"incarnation"`
	Started     time.Time     `json:"started"`
	Draining    bool          `json:"draining,omitempty"`
}

// AliveCompute is the value of alive/compute/<host>. The lease it hangs on is the host lease.
type AliveCompute struct {
	Schema  int       `json:"schema"`
	ID      HostName  `json:"id"`
	Name    HostName  `json:"name"`
	Address string    `json:"address"`
	Epoch   int64     `json:"epoch"`
	Driver  string    `json:"driver"`
	Started time.Time `json:"started"`
	// Generation is that of the store which the host registered with: its agent takes no fence of another.
	Generation int64 `json:"generation"`
}

// Request is the value of requests/<project>/<key> in the log: what an idempotency key stands for.
type Request struct {
	Schema   int        `json:"schema"`
	Task     TaskID     `json:"task"`
	Instance InstanceID `json:"instance,omitempty"`
	Digest   string     `json:"digest"` // of the request; another body under the same key is refused
	At       time.Time  `json:"at"`
	ClosedAt *time.Time `json:"closed_at,omitempty"`
}
