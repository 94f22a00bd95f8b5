package fsm

import (
	"slices"

	"leasehold/vm"
)

// None is the From of create: there is no record yet.
const None vm.State = ""

// Mode is the way in which a verb is done where it has several. Auto lets the table choose: the first row that is legal.
type Mode string

// The modes of move and reboot. MoveResize stands for a move that names a flavor.
const (
	Auto        Mode = ""
	MoveLive    Mode = "live"
	MoveCold    Mode = "cold"
	MoveResize  Mode = "resize"
	MoveRebuild Mode = "rebuild" // made again from its image elsewhere
	RebootSoft  Mode = "soft"
	RebootHard  Mode = "hard"
)

// HostNeed is what an action needs of the instance's host.
type HostNeed string

// The values of HostNeed. A dead host still has to be proven unable to execute the machine; that is not decided here.
const (
	HostUp   HostNeed = "" // its agent has to act
	HostAny  HostNeed = "any"
	HostDead HostNeed = "dead"
)

// Row is one legal action.
type Row struct {
	From     vm.State
	On       vm.Verb
	Mode     Mode         // the way this row stands for; empty when the verb has one way only
	Via      vm.TaskState // the first task_state; empty when there is nothing to do
	To       vm.State
	Returns  bool     // to rescued instead of To while the record keeps a rescue
	Preempts bool     // legal while another task runs, which it ends
	ByFault  bool     // legal only when the instance's error allows it
	Host     HostNeed // what it needs of the host
	Why      string
}

// NoOp says whether the action succeeds without a task.
func (r Row) NoOp() bool { return r.Via == vm.Idle }

// After is the vm_state that the action leads to. rescued says whether the record keeps a rescue.
func (r Row) After(rescued bool) vm.State {
	if rescued && r.Returns {
		return vm.Rescued
	}
	return r.To
}

// Actions returns the table of legal actions, in the order of the documentation. Of several rows with the same From and
// On the first is the one that Auto prefers.
func Actions() []Row { return slices.Clone(actions) }

var actions = []Row{
	{On: vm.Create, Via: vm.Scheduling, To: vm.Active, Host: HostAny, Why: "the record is written as building, then it is placed and started"},

	// P4: delete has a row in every state, preempts, and needs no host.
	{From: vm.Building, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "a build may hang on an image"},

	{From: vm.Active, On: vm.Stop, Via: vm.PoweringOff, To: vm.Stopped, Why: "the operator or the guest asked"},
	{From: vm.Active, On: vm.Reboot, Mode: RebootSoft, Via: vm.Rebooting, To: vm.Active, Why: "the guest is asked before it is reset"},
	{From: vm.Active, On: vm.Reboot, Mode: RebootHard, Via: vm.RebootingHard, To: vm.Active, Why: "a hung guest does not answer"},
	{From: vm.Active, On: vm.Pause, Via: vm.Pausing, To: vm.Paused, Why: "the vCPUs stop and the memory stays where it is"},
	{From: vm.Active, On: vm.Suspend, Via: vm.Suspending, To: vm.Suspended, Why: "the memory is saved to disk and the host's is free again"},
	{From: vm.Active, On: vm.Rescue, Via: vm.Rescuing, To: vm.Rescued, Why: "a broken system is repaired from another disk"},
	{From: vm.Active, On: vm.Rebuild, Via: vm.Rebuilding, To: vm.Active, Why: "the disk is made again from an image, the identity stays"},
	{From: vm.Active, On: vm.Snapshot, Via: vm.ImageSnapshot, To: vm.Active, Why: "a running disk can be copied at one point in time"},
	{From: vm.Active, On: vm.Move, Mode: MoveLive, Via: vm.Migrating, To: vm.Active, Why: "memory and devices are carried while it runs"},
	{From: vm.Active, On: vm.Move, Mode: MoveCold, Via: vm.Migrating, To: vm.Active, Host: HostAny, Why: "it is ended, carried and started; from a dead host only with proof that it ended (P2)"},
	{From: vm.Active, On: vm.Move, Mode: MoveResize, Via: vm.Resizing, To: vm.Active, Why: "another flavor, by hot plug or by a restart"},
	{From: vm.Active, On: vm.Move, Mode: MoveRebuild, Via: vm.Migrating, To: vm.Active, Host: HostDead, Why: "the disk was lost with the host, the image was not"},
	{From: vm.Active, On: vm.AttachVolume, Via: vm.Attaching, To: vm.Active, Why: "volumes are hot-plugged"},
	{From: vm.Active, On: vm.DetachVolume, Via: vm.Detaching, To: vm.Active, Why: "volumes are hot-unplugged when the guest lets go"},
	{From: vm.Active, On: vm.AttachPort, Via: vm.Attaching, To: vm.Active, Why: "network cards are hot-plugged"},
	{From: vm.Active, On: vm.DetachPort, Via: vm.Detaching, To: vm.Active, Why: "network cards are hot-unplugged"},
	{From: vm.Active, On: vm.SetPassword, Via: vm.UpdatingPassword, To: vm.Active, Why: "the guest's own agent sets it, so the guest has to run"},
	{From: vm.Active, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "a user may end what runs, whatever a task does with it"},

	{From: vm.Paused, On: vm.Unpause, Via: vm.Unpausing, To: vm.Active, Returns: true, Why: "the vCPUs go on where they stopped"},
	{From: vm.Paused, On: vm.Rescue, Via: vm.Rescuing, To: vm.Rescued, Why: "a guest may be paused because it is broken"},
	{From: vm.Paused, On: vm.Snapshot, Via: vm.ImageSnapshot, To: vm.Paused, Why: "nothing writes to the disk"},
	{From: vm.Paused, On: vm.Move, Mode: MoveLive, Via: vm.Migrating, To: vm.Paused, Why: "only live keeps its memory, and paused memory is the easiest to carry"},
	{From: vm.Paused, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "the memory is given up with the machine"},

	{From: vm.Suspended, On: vm.Resume, Via: vm.Resuming, To: vm.Active, Returns: true, Why: "the saved memory is loaded"},
	{From: vm.Suspended, On: vm.Rescue, Via: vm.Rescuing, To: vm.Rescued, Why: "saved memory may be what does not resume"},
	{From: vm.Suspended, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "the saved memory is given up with the machine"},

	{From: vm.Stopped, On: vm.Start, Via: vm.PoweringOn, To: vm.Active, Returns: true, Why: "its disk is there"},
	{From: vm.Stopped, On: vm.Rebuild, Via: vm.Rebuilding, To: vm.Stopped, Why: "the disk is made again and a machine that is off stays off"},
	{From: vm.Stopped, On: vm.Snapshot, Via: vm.ImageSnapshot, To: vm.Stopped, Why: "nothing writes to the disk"},
	{From: vm.Stopped, On: vm.Move, Mode: MoveCold, Via: vm.Migrating, To: vm.Stopped, Host: HostAny, Why: "there is a disk to carry and no memory"},
	{From: vm.Stopped, On: vm.Move, Mode: MoveResize, Via: vm.Resizing, To: vm.Stopped, Why: "another flavor counts from the next start"},
	{From: vm.Stopped, On: vm.Move, Mode: MoveRebuild, Via: vm.Migrating, To: vm.Stopped, Host: HostDead, Why: "the disk was lost with the host, the image was not"},
	{From: vm.Stopped, On: vm.AttachVolume, Via: vm.Attaching, To: vm.Stopped, Why: "it is found at the next start"},
	{From: vm.Stopped, On: vm.DetachVolume, Via: vm.Detaching, To: vm.Stopped, Why: "nothing uses it"},
	{From: vm.Stopped, On: vm.AttachPort, Via: vm.Attaching, To: vm.Stopped, Why: "it is found at the next start"},
	{From: vm.Stopped, On: vm.DetachPort, Via: vm.Detaching, To: vm.Stopped, Why: "nothing uses it"},
	{From: vm.Stopped, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "what is off still holds a disk"},

	// The record keeps its rescue through stop, pause and suspend, until unrescue or rebuild.
	{From: vm.Rescued, On: vm.Stop, Via: vm.PoweringOff, To: vm.Stopped, Why: "start brings it back on its rescue disk"},
	{From: vm.Rescued, On: vm.Reboot, Mode: RebootSoft, Via: vm.Rebooting, To: vm.Rescued, Why: "the rescue system is a guest like any other"},
	{From: vm.Rescued, On: vm.Reboot, Mode: RebootHard, Via: vm.RebootingHard, To: vm.Rescued, Why: "the rescue system may hang too"},
	{From: vm.Rescued, On: vm.Pause, Via: vm.Pausing, To: vm.Paused, Why: "unpause brings it back on its rescue disk"},
	{From: vm.Rescued, On: vm.Suspend, Via: vm.Suspending, To: vm.Suspended, Why: "resume brings it back on its rescue disk"},
	{From: vm.Rescued, On: vm.Unrescue, Via: vm.Unrescuing, To: vm.Active, Why: "it starts from its own disk again"},
	{From: vm.Rescued, On: vm.Rebuild, Via: vm.Rebuilding, To: vm.Active, Why: "the repair is given up, the disk is made again"},
	{From: vm.Rescued, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "the repair is given up, both disks go"},

	{From: vm.Error, On: vm.Start, Via: vm.PoweringOn, To: vm.Active, Returns: true, ByFault: true, Why: "the disk is good and nothing executes"},
	{From: vm.Error, On: vm.Stop, Via: vm.PoweringOff, To: vm.Stopped, ByFault: true, Why: "off is a state that can be made certain"},
	{From: vm.Error, On: vm.Reboot, Mode: RebootHard, Via: vm.RebootingHard, To: vm.Active, Returns: true, ByFault: true, Why: "a reset forgets what the machine was doing; asking the guest is no repair"},
	{From: vm.Error, On: vm.Rebuild, Via: vm.Rebuilding, To: vm.Active, ByFault: true, Why: "the image is good, so the disk can be made again"},
	{From: vm.Error, On: vm.Move, Mode: MoveCold, Via: vm.Migrating, To: vm.Active, Host: HostAny, ByFault: true, Why: "the disk can be reached from another host"},
	{From: vm.Error, On: vm.Move, Mode: MoveRebuild, Via: vm.Migrating, To: vm.Active, Host: HostDead, ByFault: true, Why: "the disk was lost with the host, the image was not"},
	{From: vm.Error, On: vm.Delete, Via: vm.Deleting, To: vm.Deleted, Preempts: true, Host: HostAny, Why: "nothing is ever too broken to be deleted"},

	{From: vm.Deleted, On: vm.Delete, To: vm.Deleted, Host: HostAny, Why: "a repeated delete finds what it wants"},
}
