package vm

// State is vm_state: what the control plane has achieved for an instance.
type State string

// The values of State.
const (
	Building  State = "building"
	Active    State = "active"
	Paused    State = "paused"
	Suspended State = "suspended"
	Stopped   State = "stopped"
	Rescued   State = "rescued"
	Error     State = "error"
	Deleted   State = "deleted"
)

// States lists every State in the order of the documentation.
func States() []State {
	return []State{Building, Active, Paused, Suspended, Stopped, Rescued, Error, Deleted}
}

// TaskState is task_state: the transient step of the running task, empty when idle.
type TaskState string

// The values of TaskState. The recovery tables of package fsm have a row for each.
const (
	Idle                TaskState = ""
	Scheduling          TaskState = "scheduling"
	BlockDeviceMapping  TaskState = "block_device_mapping"
	Networking          TaskState = "networking"
	Spawning            TaskState = "spawning"
	ImageSnapshot       TaskState = "image_snapshot"
	ImageUploading      TaskState = "image_uploading"
	UpdatingPassword    TaskState = "updating_password"
	PoweringOff         TaskState = "powering_off"
	PoweringOn          TaskState = "powering_on"
	Rebooting           TaskState = "rebooting"
	RebootingHard       TaskState = "rebooting_hard"
	Pausing             TaskState = "pausing"
	Unpausing           TaskState = "unpausing"
	Suspending          TaskState = "suspending"
	Resuming            TaskState = "resuming"
	Rescuing            TaskState = "rescuing"
	Unrescuing          TaskState = "unrescuing"
	Rebuilding          TaskState = "rebuilding"
	RebuildingSpawning  TaskState = "rebuilding_spawning"
	Resizing            TaskState = "resizing"
	Migrating           TaskState = "migrating"
	MigratingSwitchover TaskState = "migrating_switchover"
	Attaching           TaskState = "attaching"
	Detaching           TaskState = "detaching"
	Deleting            TaskState = "deleting"
)

// TaskStates lists every transient TaskState; Idle is not among them.
func TaskStates() []TaskState {
	return []TaskState{
		Scheduling, BlockDeviceMapping, Networking, Spawning, ImageSnapshot, ImageUploading, UpdatingPassword,
		PoweringOff, PoweringOn, Rebooting, RebootingHard, Pausing, Unpausing, Suspending, Resuming, Rescuing,
		Unrescuing, Rebuilding, RebuildingSpawning, Resizing, Migrating, MigratingSwitchover, Attaching, Detaching,
		Deleting,
	}
}

// PowerState is what the hypervisor was last seen doing with the machine. It speaks of the virtualisation layer only.
type PowerState string

// The values of PowerState.
const (
	PowerNoState   PowerState = "nostate"   // cannot be asked, or nothing is there
	PowerRunning   PowerState = "running"   // vCPUs execute
	PowerPaused    PowerState = "paused"    // in memory, not executing
	PowerShutdown  PowerState = "shutdown"  // ended cleanly; the disk is there
	PowerCrashed   PowerState = "crashed"   // ended badly: guest panic, I/O error, killed process
	PowerSuspended PowerState = "suspended" // memory saved to disk
)

// PowerStates lists every PowerState.
func PowerStates() []PowerState {
	return []PowerState{PowerNoState, PowerRunning, PowerPaused, PowerShutdown, PowerCrashed, PowerSuspended}
}

// TaskStatus is the status of a task.
type TaskStatus string

// The values of TaskStatus; the last three are terminal.
const (
	TaskWaiting   TaskStatus = "waiting"   // for a busy shared resource; owns tickets, not resources
	TaskQueued    TaskStatus = "queued"    // owns its resources; nobody drives it yet
	TaskRunning   TaskStatus = "running"   // a conductor has, or had, its claim
	TaskSucceeded TaskStatus = "succeeded" //
	TaskFailed    TaskStatus = "failed"    // ended with a reason; what it had done was undone or is recorded
	TaskCancelled TaskStatus = "cancelled" // by a user, or preempted by a delete
)

// Terminal says whether the task has ended.
func (s TaskStatus) Terminal() bool {
	return s == TaskSucceeded || s == TaskFailed || s == TaskCancelled
}

// Verb is an action on an instance, as it stands in the API and in the action table.
type Verb string

// The verbs of the action table. Create is the one verb that has no state to start from.
const (
	Create       Verb = "create"
	Delete       Verb = "delete"
	Start        Verb = "start"
	Stop         Verb = "stop"
	Reboot       Verb = "reboot"
	Pause        Verb = "pause"
	Unpause      Verb = "unpause"
	Suspend      Verb = "suspend"
	Resume       Verb = "resume"
	Rescue       Verb = "rescue"
	Unrescue     Verb = "unrescue"
	Rebuild      Verb = "rebuild"
	Snapshot     Verb = "snapshot"
	Move         Verb = "move"
	AttachVolume Verb = "attach_volume"
	DetachVolume Verb = "detach_volume"
	AttachPort   Verb = "attach_port"
	DetachPort   Verb = "detach_port"
	SetPassword  Verb = "set_password"
)

// Verbs lists every verb that acts on an existing instance.
func Verbs() []Verb {
	return []Verb{
		Start, Stop, Reboot, Pause, Unpause, Suspend, Resume, Rescue, Unrescue, Rebuild, Snapshot, Move,
		AttachVolume, DetachVolume, AttachPort, DetachPort, SetPassword, Delete,
	}
}
