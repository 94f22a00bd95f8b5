// Package qemu runs machines on QEMU, one process each, without libvirt. It needs Linux, QEMU 7.2 or newer and qemu-img.
//
//	<Dir>/<id>/        one machine: see package folder for its files
//	<Dir>/.images/     images that were fetched
//
//	Driver --Spawn--> shim --child--> QEMU        processes; the lock of the folder is held by both
//	   |  qmp    <--------------------->  |       calls and events
//	   |  qmp2   <--------------------->  |       Inspect, which a hung call must not delay
//	   |  ser    <--------------------->  |       console, one at a time: a new one closes the older
//	   |  qga    <--------------------->  |       the guest's own agent, if it has one
//
// What a machine is, is read from three places and never remembered: the folder (is it made?), the lock (does a process
// live?), and then QEMU itself, or exit.json when no process lives.
//
//	folder       lock   says                                      power state
//	whole        held   QEMU: running                             running
//	                    QEMU: paused, prelaunch, *migrate         paused
//	                    QEMU: shutdown                            shutdown
//	                    QEMU: guest-panicked, *-error             crashed
//	                    no answer in a second                     nostate
//	whole        free   never started, exit 0, stopped            shutdown
//	                    another exit, a signal, no exit.json      crashed
//	half, alien                                                   nostate
//
// QEMU is told to stop rather than end when the guest powers off or panics, so the process of a machine that is off may
// still be there. Start makes a new one then; Stop ends it.
//
// Rules beside those of package drivers:
//
//	I1  At most one process per machine, whoever starts it (P2): see package folder, I1 and I2.
//	I2  A call that ends a machine returns nil only when the lock is free and its cgroup is empty (P2).
//	I3  Every call ends with its context, or when interrupted; what it had sent to a hung QEMU is executed before
//	    anything sent later, or never.
//	I4  QEMU opens disks as qcow2 and nothing else, and every disk was written by our own qemu-img convert: no format is
//	    ever guessed from content, and no image can name another file.
package qemu
