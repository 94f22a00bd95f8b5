// Package qmp speaks the QEMU Machine Protocol: commands with an answer each, and events, as JSON over one connection.
//
//	I1  Every command ends with its answer, with its context, or with the connection; nothing waits for ever.
//	I2  Many commands may be under way. The hypervisor executes those of one connection in the order they were sent, one
//	    that nobody waits for any more included.
//	I3  Events reach the sink in order and before the answers that follow them.
//
// A monitor serves one connection at a time: a second one is accepted but not greeted until the first has ended.
package qmp
