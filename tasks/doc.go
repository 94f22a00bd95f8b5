// Package tasks holds the kinds of work, one file each: the steps of its flow, what a successor does with a step found
// begun, and what the end of the task means for the instance. It decides; it does not store (the conductor's recorder
// does, in one transaction) and does not touch a machine (the agent does, under the task's fence).
//
//	create   place -> spawn        placing commits the allocation with the decision; a failed spawn goes to another host
//	delete   teardown              every host that may hold anything of the instance
//	start stop reboot pause unpause suspend resume rescue unrescue set_password   one step each
//	rebuild  rebuilding -> spawning   the disk anew, then it runs again if it did
//	snapshot copying -> uploading     a copy of one moment, then an image of it
//
// The states that a step shows and an end leaves come from the tables of package fsm; no other package assigns them.
package tasks
