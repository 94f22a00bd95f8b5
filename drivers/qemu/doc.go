// Package qemu runs machines on QEMU, one process each, without libvirt. It needs Linux, QEMU 7.2 or newer and qemu-img.
//
//	<Dir>/<id>/        one machine: see package folder for its files
//	<Dir>/.images/     images that were fetched
//	<Dir>/.snapshots/  images that were made here, a folder each: they outlive their machine
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
//	whole        free   a saved memory                            suspended
//	                    never started, exit 0, stopped            shutdown
//	                    another exit, a signal, no exit.json      crashed
//	half, alien                                                   nostate
//
// Whether it starts from its own disk or from a rescue disk is a file in its folder, so it lasts until it is removed.
//
// QEMU is told to stop rather than end when the guest powers off or panics, so the process of a machine that is off may
// still be there. Start makes a new one then; Stop ends it.
//
// Events come from QEMU, whose word is then asked for. A QEMU that has not answered for a second is an event too, and
// so is its next answer: see watch.go.
//
// Rules beside those of package drivers:
//
//	I1  At most one process per machine, whoever starts it (P2): see package folder, I1 and I2.
//	I2  A call that ends a machine returns nil only when the lock is free and its cgroup is empty (P2).
//	I3  Every call ends with its context, or when interrupted; what it had sent to a hung QEMU is executed before
//	    anything sent later, or never.
//	I4  QEMU opens disks as qcow2 and nothing else, and every disk was written by our own qemu-img convert: no format is
//	    ever guessed from content, and no image can name another file.
//	I5  Nothing of a machine has executed since its file memory was made. Every cont is preceded by a durable rename of
//	    that file, so a memory that is older than its disk is never loaded, whatever was killed or lost its power.
//	I6  A disk or an image gets its name when it is whole and durable. A new disk takes the place of the old one in one
//	    rename, with no process left and no memory.
//	I7  What QEMU goes on doing for a call that was cut short (writing memory, copying a disk) is ended by whoever acts
//	    on the machine next, or drops the image.
package qemu
