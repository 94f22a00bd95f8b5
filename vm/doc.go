// Package vm holds the words of Leasehold: names, states, records and reasons. It is the glossary; a new word is
// added here first, and every other package speaks in these types.
//
//	instance, volume, port, network, image, flavor, host   the records of the cloud
//	task          one durable unit of work that a user asked for; it has steps, progress and a history
//	step          part of a task: do, undo, and a resume policy for a successor that finds it begun
//	reservation   durable: the field Task of a record. Set at admission, cleared at the end, survives any crash
//	claim         lease-bound: which conductor works on a task now
//	lock          lease-bound: which task and conductor act on a resource now
//	fence         (store generation, revision of the transaction that wrote the claim); grows with every takeover
//	session       a conductor's one lease and its trust window
//	footprint     the hosts that may hold anything of an instance; written before the first touch
//	ticket        a waiting task's place in the queue of one shared resource
//	conductor     a process that admits and drives tasks; replicas share the work
//	rescue        starting a machine from another disk while its own is repaired; the record keeps it until unrescue
//	power         optional: what a driver can do beside the basics
//	signature     an operator's word for what no machine can prove, kept with his name and reason
//	usage         what each vCPU has run and waited: a statistic, never a state
//	compute       the host agent that runs machines for conductors; it has no etcd credentials
//
// Three facts about an instance have three writers and are never merged: State (vm_state, what the control plane has
// achieved), TaskState (the transient step, empty when idle) and PowerState (what the hypervisor was last seen doing).
//
// The package does no I/O, reads no clock and imports nothing of Leasehold.
package vm
