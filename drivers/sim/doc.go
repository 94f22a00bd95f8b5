// Package sim is the driver that runs no machines. It keeps their states on disk, takes as long and fails as often as it
// is told, and otherwise behaves as a hypervisor does: it refuses what a real one refuses, and its machines outlive the
// agent. With it the whole of Leasehold is tried on one desk and tested at scale.
//
// The map in memory is the hypervisor; the files are its machines' survival, one JSON file each, replaced as a whole.
// Every change of state is one such write, and is true once the file has its name.
//
//	Prepare   (nothing) -> half-made -> shutdown        steps image, disk, network, volume
//	Start     shutdown, crashed, paused -> running      step spawn at first, later start
//	Stop      running, paused -> shutdown               step stop; a guest obeys at once, a paused one is cut off
//	Reboot    running, paused -> running                step reboot; hard also starts what has ended
//	Pause     running -> paused                         step pause, and unpause back
//	Suspend   running, paused -> suspended              step suspend, and resume back
//	Rescue    anything made -> running                  steps image, disk, rescue; from another disk, until unrescue
//	Rebuild   anything made -> shutdown                 steps image, disk, rebuild; another disk
//	Snapshot  as it is                                  step snapshot, and upload for Export
//	Destroy   anything readable -> (nothing)            step destroy
//
// Each step obeys Config and, before it, the machine's metadata:
//
//	sim.latency.<step>=30s    takes so long, and reports progress at its start and each second
//	sim.fail.<step>=2         fails the next two times; the count outlives the machine and, with Config.World, the host
//	sim.hang.<step>=true      neither ends nor reports, until its context ends or Interrupt
//	sim.no_agent=true         the guest has no agent: SetPassword is refused
//
// A hang comes before the latency, a failure after it. A step that ended in error has changed nothing. The volume step
// is there for its faults alone as long as a Spec names no volumes.
//
// Beside the rules of package drivers:
//
//	I7  executing <=> the file says running. With Config.World the log says start before the file does, and stop after,
//	    so each true execution lies within a logged one.
//	I8  after Close has returned, or a call's context has ended, that driver or call changes nothing any more.
package sim
