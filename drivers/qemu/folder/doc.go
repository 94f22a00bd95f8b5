// Package folder is what a machine looks like on disk, shared by the driver and the shim:
//
//	spec.json    the definition. First in and last out: a folder with content but without it is not ours
//	disk.qcow2   the disk. It appears whole or not at all; a machine with spec.json and disk.qcow2 is prepared
//	rescue.qcow2 rescue.json
//	             the disk of a rescued machine, and the image it was made of. It starts from it while both are there
//	memory       saved by a suspend. It appears whole or not at all; while it is there nothing has executed since
//	memory.spent the same, from right before the machine executes again: never to be loaded
//	lock         held by every process that could make the machine execute
//	launch.json  how it was last started
//	exit.json    how that ended; absent while it runs, and when nobody lived to write it
//	pidfile      the hypervisor's process, while it lives
//	qmp qmp2     monitors: of the calls and events, and of Inspect
//	ser ser.log  the serial line and what came over it
//	qga          the port of the guest's agent
//	shim         the shim's control socket
//	qemu.log shim.log
//
// The lock is an open file description lock. Its descriptor goes from the agent to the shim to the hypervisor, so:
//
//	I1  The lock is free only when no process is left that executes the machine, whatever was killed in which order (P2).
//	I2  Whoever starts the machine holds the lock from before its decision until after the new process holds it, so two
//	    processes of one machine never live at the same time (P2).
package folder
