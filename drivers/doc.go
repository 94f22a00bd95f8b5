// Package drivers is the seam between the host agent and a hypervisor. It speaks in intents (prepare, start, stop,
// destroy), never in a hypervisor's own terms.
//
// The core is small; what only some hypervisors can do is an optional power, found by a type assertion:
//
//	Driver        Info Prepare Start Stop Destroy Inspect List Events      every driver
//	Rebooter      Reboot                                                    restart the guest, same disk
//	Pauser        Pause Unpause
//	Consoler      Console ConsoleLog                                        serial line
//	Interrupter   Interrupt                                                 get past a hung call
//	Suspender     Suspend Resume                                            memory to disk and back
//	Rescuer       Rescue Unrescue                                           start from another disk
//	Rebuilder     Rebuild                                                   the disk anew
//	Snapshotter   Snapshot Export DropImage Images OpenImage                images of disks
//	Passworder    SetPassword                                               through the guest's own agent
//	Meter         Usage                                                     what vCPUs ran and waited
//
// Rules for every driver, held by drivertest:
//
//	I1  Every method is idempotent: it may be run again after a crash at any line and comes to the same end.
//	I2  Nothing executes before Start, and nothing executes after Destroy has returned nil.
//	I3  Every method ends soon after its context ends, having left the machine in a state that Inspect can tell.
//	I4  Machines outlive the process that made them; a new Driver on the same directory finds them all.
//	I5  Work that takes longer than a second reports progress; silence means stuck.
//	I6  Methods of different machines run at the same time and do not delay each other. Calls for one machine are made
//	    one after another by the agent, except Inspect, List and Interrupt, which may come at any time.
package drivers
