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

// Image says where a disk's first content comes from: builtin:<name>, file:///path, http:// or https://.
type Image struct {
	ID     vm.ImageID `json:"id"`
	Name   string     `json:"name"`
	URL    string     `json:"url"`
	Format string     `json:"format"` // raw or qcow2
	SHA256 string     `json:"sha256,omitempty"`
}

// Machine is what the hypervisor says of one machine.
type Machine struct {
	ID         vm.InstanceID
	Exists     bool // anything of it is here: a process, a disk, a definition
	PowerState vm.PowerState
	Detail     string // the hypervisor's own word: guest-panicked, signal 9, ...
	Disks      []string
	Ports      []string
	Unknown    bool // something is here that this driver cannot read; it is never destroyed on a guess
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
)
