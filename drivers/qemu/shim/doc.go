// Package shim is the small process that stands between the agent and one machine's hypervisor, with both ends of what
// they say to each other. It is the hypervisor's parent, so it alone learns how the hypervisor ends, and writes it down:
//
//	agent --Spawn--> shim --child--> qemu
//	      --Kill---> control socket         kill, wait, write exit.json, answer
//
//	I1  The shim outlives the agent: its own session, its own files as stdio.
//	I2  The hypervisor never outlives the shim: the kernel kills it when its parent dies, and both are in the machine's
//	    cgroup (P2).
//	I3  exit.json is durable before the lock is free. A free lock without exit.json means that the shim was killed too.
//	I4  Both hold the lock of package folder for as long as they live.
//
// It is the same program as the agent (compute shim --dir D), so it is always there and of the same version. It does
// nothing by itself while the machine lives but keep the logs small. It is also the place of the guard that freezes a
// machine when the host's lease is not renewed: that will be further requests on the control socket, and a timer here.
package shim
