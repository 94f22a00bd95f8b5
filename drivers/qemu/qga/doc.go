// Package qga speaks the protocol of the guest agent: one JSON object a line, one command at a time, over the socket of a
// virtio-serial port whose other end is a program inside the guest.
//
// Nothing tells whether such a program exists, and what an earlier caller has left behind, in either direction, is still
// on the line: half a command, or the answer to one that was given up. So every connection begins with guest-sync-delimited
// under a random id: a byte 0xFF ends whatever the agent was reading, and all it says before it repeats the id is skipped.
//
//	I1  Nothing but the sync is sent before the agent has answered it, so where New fails the guest was not touched.
//	I2  Every call ends with its answer, with its context, or with its limit; nothing waits for ever.
//	I3  An answer belongs to the last command. A call that was given up breaks the connection: the next one is made anew.
//
// The socket serves one connection at a time: a second one is accepted, and its sync is answered when the first has ended.
package qga
