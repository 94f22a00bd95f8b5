package drivertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// Patience bounds every call and every wait. It is long because a guest may be emulated on a host with other work; a
// driver that keeps the rules never comes near it.
const Patience = 60 * time.Second

// Harness is what the suite needs of a driver. New and Spec are required; a nil hook leaves out the rules that need it.
type Harness struct {
	// New opens the driver on dir. It is called again on the same dir, after Close, to play the agent's restart. The suite
	// closes what New opens, after having destroyed what is left.
	New func(t *testing.T, dir string) drivers.Driver
	// Spec describes a small machine that can be made and executes; each call gives a fresh id and name.
	Spec func(t *testing.T) drivers.Spec

	// Ready returns when the guest would obey a request to shut down. With it graceful stops must come before their
	// grace ends; without it the guest may be deaf and only the outcome is checked.
	Ready func(t *testing.T, d drivers.Driver, id vm.InstanceID)
	// Grace is what a ready guest gets to obey; 10 s when zero.
	Grace time.Duration
	// GuestShutdown makes the guest shut itself down, GuestCrash makes it crash. The machine is ready.
	GuestShutdown func(t *testing.T, d drivers.Driver, id vm.InstanceID)
	GuestCrash    func(t *testing.T, d drivers.Driver, id vm.InstanceID)
	// Hang makes the hypervisor of the executing machine id deaf: Pause hangs from now on until Interrupt or its
	// context ends it. Destroy and Interrupt with kill still work.
	Hang func(t *testing.T, d drivers.Driver, id vm.InstanceID)
	// Litter leaves something in dir that the driver cannot read as a machine, and says under which id it is to be
	// listed. The agent is not running meanwhile.
	Litter func(t *testing.T, dir string) vm.InstanceID
	// Console says what a ready guest of Spec does on its serial line.
	Console *Console
	// Counter reads a number that a ready guest keeps in its memory and nowhere else. It grows, by time or by being
	// read, and begins near zero when the guest boots. With it saved memory must be the guest's.
	Counter func(t *testing.T, d drivers.Driver, id vm.InstanceID) uint64
	// Disk says what a ready guest does with the disk that it started from.
	Disk *Disk
	// Agent says which guests have an agent of their own.
	Agent *Agent
}

// Console is an expectation: after Send is written the line brings Reply, and the log holds Banner soon after the start.
type Console struct {
	Banner string
	Send   string
	Reply  string
}

// Disk has the guest use the disk that it started from. Without it only power states and images as files are checked.
type Disk struct {
	// Write has the guest write what no disk of the test holds yet. It returns what Read tells from then on, wherever
	// the disk or a copy of it is.
	Write func(t *testing.T, d drivers.Driver, id vm.InstanceID) string
	Read  func(t *testing.T, d drivers.Driver, id vm.InstanceID) string
}

// Agent is about guests with and without an agent. Each func may be nil.
type Agent struct {
	With    func(t *testing.T) drivers.Spec // as Harness.Spec, of a guest that has one
	Without func(t *testing.T) drivers.Spec // of a guest that has none, however long one waits
	// Up returns when the agent of a started machine answers.
	Up func(t *testing.T, d drivers.Driver, id vm.InstanceID)
	// Knows says whether the guest lets user in with password.
	Knows func(t *testing.T, d drivers.Driver, id vm.InstanceID, user, password string) bool
}

// Run holds the driver to every rule that the Harness and the driver's powers allow to check.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Grace == 0 {
		h.Grace = 10 * time.Second
	}
	probe := h.New(t, t.TempDir())
	tell, check := stories(h, probe), rules(h, probe)
	require.NoError(t, probe.Close())
	for _, s := range tell {
		for _, m := range modes {
			t.Run(s.name+"/"+m.name, func(t *testing.T) { s.tell(newHost(t, h, m)) })
		}
	}
	for _, r := range check {
		t.Run(r.name, func(t *testing.T) { r.check(newHost(t, h, once)) })
	}
}

type rule struct {
	name  string
	check func(*host)
}

// rules are the checks that are not told as a story.
func rules(h Harness, d drivers.Driver) []rule {
	all := []rule{
		{"info offers capacity", infoOffersCapacity},
		{"calls out of order are refused", callsOutOfOrder},
		{"unusable specs are refused", unusableSpecs},
		{"nothing executes before start", nothingBeforeStart},
		{"nothing executes after destroy", nothingAfterDestroy},
		{"prepare leaves a running machine alone", prepareLeavesRunningAlone},
		{"list is what exists", listIsWhatExists},
		{"machines are independent", machinesAreIndependent},
		{"machines live at the same time", machinesLiveAtTheSameTime},
		{"an ended context ends each call", endedContextEndsCalls},
		{"a call cut short can be made again", cutShortAndAgain},
		{"events end with their context", eventsEndWithContext},
	}
	add := func(can bool, name string, check func(*host)) {
		if can {
			all = append(all, rule{name, check})
		}
	}
	consoles, interrupts := has[drivers.Consoler](d), has[drivers.Interrupter](d)
	hangs := has[drivers.Pauser](d) && h.Hang != nil
	add(h.GuestShutdown != nil, "a guest's shutdown is an event", shutdownIsAnEvent)
	add(h.GuestShutdown != nil, "an unread receiver blocks nothing", unreadReceiver)
	add(h.GuestCrash != nil, "a guest's crash is an event", crashIsAnEvent)
	add(h.Litter != nil, "what is not understood is shown and kept", litterIsKept)
	add(consoles, "a machine that is not there has no console", consoleOfNothing)
	add(consoles && h.Console != nil, "the console is live and logged", consoleIsLive)
	add(interrupts, "interrupt of an idle machine is harmless", interruptIdle)
	add(interrupts, "interrupt with kill ends execution", interruptKills)
	add(hangs, "a hang ends with its context", hangEndsWithContext)
	add(hangs && interrupts, "a hang ends by interrupt", hangEndsByInterrupt)
	add(hangs, "a hang delays only its own machine", hangDelaysOnlyItself)
	suspends, rescues := has[drivers.Suspender](d), has[drivers.Rescuer](d)
	rebuilds, snapshots := has[drivers.Rebuilder](d), has[drivers.Snapshotter](d)
	add(suspends, "what has no saved memory is not resumed", nothingToResume)
	add(suspends, "saved memory is not lost by other calls", savedMemoryStays)
	add(suspends, "a suspension cut short can be made again", suspensionCutShort)
	add(rescues, "a machine is rescued from any state", rescuedFromAnyState)
	add(rescues, "a rescue that fails changes nothing", rescueFails)
	add(rescues, "a rescue cut short can be made again", rescueCutShort)
	add(rebuilds, "a rebuild that cannot be is refused", rebuildRefused)
	add(rebuilds, "a rebuild that fails changes nothing", rebuildFails)
	add(rebuilds, "a rebuild cut short can be made again", rebuildCutShort)
	add(snapshots, "an image that is not there is nowhere", imageOfNothing)
	add(snapshots, "images outlive machine and agent", imagesOutlive)
	add(snapshots, "an image is checked before it is used", imageIsChecked)
	add(snapshots, "a snapshot cut short can be made again", snapshotCutShort)
	add(snapshots, "a snapshot cut short can be dropped", snapshotDropped)
	passwords := has[drivers.Passworder](d) && h.Agent != nil
	add(passwords && h.Agent.With != nil, "a guest's agent that is off is no agent", agentIsOff)
	add(passwords && h.Agent.Without != nil, "a guest without an agent is left as it is", noAgent)
	add(has[drivers.Meter](d), "a machine that executes uses processors", usesProcessors)
	return all
}
