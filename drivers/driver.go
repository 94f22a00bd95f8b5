package drivers

import (
	"context"
	"errors"
	"io"
	"time"

	"leasehold/vm"
)

// Driver is one hypervisor on one host.
type Driver interface {
	// Info tells what this host offers. It is asked once at the agent's start.
	Info(ctx context.Context) (Info, error)
	// Prepare makes everything the machine needs short of executing it: image, disk, network, definition. Phases are
	// reported as image, disk, network, volume. A machine that is already prepared is left as it is; a half-made one is
	// made again.
	Prepare(ctx context.Context, spec Spec, report Report) error
	// Start lets the prepared machine execute; nil when it executes already. A crashed or shut down machine is started
	// anew. It does not wait for the guest's system. ErrNoMachine when it was never prepared. Phase: spawn or start.
	Start(ctx context.Context, id vm.InstanceID, report Report) error
	// Stop ends execution and keeps the disk. The guest is asked and has grace to obey; then, or at once when grace is
	// zero, the power is cut. Nil when it is off already. Phase: stop.
	Stop(ctx context.Context, id vm.InstanceID, grace time.Duration, report Report) error
	// Destroy ends execution and removes process, disk, ports and definition; nil when there is nothing. After nil
	// nothing of the machine is left and nothing can bring it back but Prepare. Phase: destroy.
	Destroy(ctx context.Context, id vm.InstanceID, report Report) error
	// Inspect asks the hypervisor itself, never a memory of it. A machine that is not there has Exists false and no error.
	// A machine whose hypervisor does not answer within about a second has PowerState nostate and says why in Detail.
	Inspect(ctx context.Context, id vm.InstanceID) (Machine, error)
	// List inspects everything on this host, half-made machines and ones it does not understand included.
	List(ctx context.Context) ([]Machine, error)
	// Events sends what happens by itself (a guest that shut down, a crash) until ctx ends; it must not block the driver:
	// a receiver that is too slow loses events, not machines. Whoever needs certainty inspects.
	Events(ctx context.Context) <-chan Event
	// Close lets go of the machines, which run on.
	Close() error
}

// Rebooter restarts a machine in place.
type Rebooter interface {
	// Reboot restarts the machine. Soft (grace > 0) asks the guest first and resets it when it does not obey in time;
	// hard (grace = 0) resets at once and also revives a crashed machine. Phase: reboot.
	Reboot(ctx context.Context, id vm.InstanceID, grace time.Duration, report Report) error
}

// Pauser stops and continues vCPUs, keeping memory.
type Pauser interface {
	Pause(ctx context.Context, id vm.InstanceID, report Report) error
	Unpause(ctx context.Context, id vm.InstanceID, report Report) error
}

// Suspender saves memory to disk. A suspended machine has power state suspended and no process.
type Suspender interface {
	// Suspend saves the memory and ends the process. Nil when it is suspended already. The memory in the host is given up
	// only after the copy is complete; a copy cut short is made again. Phase: suspend, in bytes.
	Suspend(ctx context.Context, id vm.InstanceID, report Report) error
	// Resume goes on from the saved memory and removes it once the machine executes; nil when it executes already. Without
	// saved memory it is refused. Phase: resume.
	Resume(ctx context.Context, id vm.InstanceID, report Report) error
}

// Rescuer starts a machine from another disk. Inspect says which in Machine.Rescue. Start, Stop, Reboot, Pause and Suspend
// keep the disk that it starts from; Stop, Suspend and Destroy of a rescued machine keep, keep and remove its rescue disk.
type Rescuer interface {
	// Rescue ends execution, makes a disk from image, and starts the machine from it with the own disk as the second. Saved
	// memory is given up. Nil when it executes from a rescue disk of that image already. Phases: image, disk, rescue.
	Rescue(ctx context.Context, id vm.InstanceID, image Image, report Report) error
	// Unrescue ends execution, removes the rescue disk and starts the machine from its own; nil when it executes from its
	// own disk already. Phase: unrescue.
	Unrescue(ctx context.Context, id vm.InstanceID, report Report) error
}

// Rebuilder makes a disk anew.
type Rebuilder interface {
	// Rebuild makes a disk from spec.Image, and puts it in the place of the old one with the machine off, not rescued and
	// without saved memory. Until then the old disk is whole. The machine ends at the last moment. The spec's id is that of
	// an existing machine, of the same size; the new spec is kept. Done again it makes the disk again. Phases: image, disk,
	// rebuild.
	Rebuild(ctx context.Context, spec Spec, report Report) error
}

// Snapshotter makes images of disks. Images outlive their machine and belong to the host until they are dropped.
type Snapshotter interface {
	// Snapshot copies the disk as it is at one moment, in whatever power state; what executes goes on executing, its file
	// systems are frozen for that moment when the guest's agent can. Nil when the copy is complete already. Phase:
	// snapshot, in bytes.
	Snapshot(ctx context.Context, id vm.InstanceID, image vm.ImageID, report Report) error
	// Export makes a complete image of the copy, without backing file, and removes the copy; done again it tells the same.
	// Phase: upload, in bytes.
	Export(ctx context.Context, id vm.InstanceID, image vm.ImageID, report Report) (ImageFile, error)
	// DropImage removes copy and image, as far as there are any.
	DropImage(ctx context.Context, image vm.ImageID) error
	// Images lists the ids of all copies and images here.
	Images(ctx context.Context) ([]vm.ImageID, error)
	// OpenImage reads a complete image; ErrNoImage when there is none.
	OpenImage(ctx context.Context, image vm.ImageID) (ImageReader, error)
}

// ImageReader is a complete image, open for reading.
type ImageReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Passworder reaches the guest's own agent.
type Passworder interface {
	// SetPassword has the guest set user's password. ErrNoAgent when the guest has no agent that answers; then nothing was
	// changed. Phase: password.
	SetPassword(ctx context.Context, id vm.InstanceID, user, password string, report Report) error
}

// Meter counts what machines use.
type Meter interface {
	// Usage tells of each vCPU; empty when nothing executes.
	Usage(ctx context.Context, id vm.InstanceID) ([]VCPUUsage, error)
}

// VCPUUsage is what one vCPU has had of the host's processors since the machine's process began.
type VCPUUsage struct {
	Run  time.Duration // on a processor
	Wait time.Duration // ready, and waiting for one
}

// ImageFile is a complete image on this host.
type ImageFile struct {
	ID        vm.ImageID `json:"id"`
	SizeBytes int64      `json:"size_bytes"`
	SHA256    string     `json:"sha256"`
	Format    string     `json:"format"`
}

// Fetch opens a host:// image on the host that has it, from offset on, and tells its whole size. The agent gives it to
// drivers that copy images; ErrRetry while that host cannot be reached.
type Fetch func(ctx context.Context, image Image, offset int64) (body io.ReadCloser, size int64, err error)

// Consoler gives access to the machine's serial line.
type Consoler interface {
	// Console opens the live line. Several may be open at once or the oldest is closed; the driver says which in its docs.
	Console(ctx context.Context, id vm.InstanceID) (io.ReadWriteCloser, error)
	// ConsoleLog returns up to the last limit bytes that the machine wrote.
	ConsoleLog(ctx context.Context, id vm.InstanceID, limit int) ([]byte, error)
}

// Interrupter gets past a hypervisor call that hangs.
type Interrupter interface {
	// Interrupt makes any call that is under way for id return with an error soon. With kill it also ends the machine's
	// execution for sure, and returns nil only when it has ended. It may be called while another call is under way.
	Interrupt(ctx context.Context, id vm.InstanceID, kill bool) error
}

// Report tells that work goes on. It is called from the goroutine that does the work, at least each second while
// something moves, and never when nothing does.
type Report func(vm.Progress)

// Info is what a host offers.
type Info struct {
	Driver   string  // sim or qemu
	Version  string  // of the hypervisor
	Accel    string  // kvm, tcg or empty
	Capacity vm.Size // what may be promised here
	Powers   []string
}

// Spec is everything a driver needs to make a machine. It is written to the host's disk as it is.
type Spec struct {
	ID       vm.InstanceID     `json:"id"`
	Name     string            `json:"name"`
	Size     vm.Size           `json:"size"`
	Image    Image             `json:"image"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Image says where a disk's first content comes from: builtin:<name>, file:///path, http://, https://, or
// host://<host>/<id> for what a host has made by Export.
type Image struct {
	ID     vm.ImageID `json:"id"`
	Name   string     `json:"name"`
	URL    string     `json:"url"`
	Format string     `json:"format"` // raw or qcow2
	SHA256 string     `json:"sha256,omitempty"`
	// Address is where the agent that has a host:// image answers now.
	Address string `json:"address,omitempty"`
}

// Machine is what the hypervisor says of one machine.
type Machine struct {
	ID         vm.InstanceID
	Exists     bool // anything of it is here: a process, a disk, a definition
	PowerState vm.PowerState
	Detail     string // the hypervisor's own word: guest-panicked, signal 9, ...
	Disks      []string
	Ports      []string
	Unknown    bool       // something is here that this driver cannot read; it is never destroyed on a guess
	Rescue     vm.ImageID // of the rescue disk that it starts from; empty when it starts from its own
}

// Event is something that happened to a machine by itself.
type Event struct {
	ID         vm.InstanceID
	PowerState vm.PowerState
	Detail     string
	At         time.Time
	Lost       bool // events were lost before this one: inspect everything
}

// Sentinels that callers branch on. Anything else is the hypervisor's own refusal: permanent unless wrapped in ErrRetry.
var (
	ErrNoMachine   = errors.New("no such machine on this host")
	ErrRetry       = errors.New("may succeed when tried again")
	ErrBadImage    = errors.New("the image cannot be used")
	ErrUnsupported = errors.New("this driver cannot do that")
	ErrNoAgent     = errors.New("the guest has no agent that answers")
	ErrNoImage     = errors.New("no such image on this host")
	ErrNoMemory    = errors.New("no memory of the machine is saved")
)
