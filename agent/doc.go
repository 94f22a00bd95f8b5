// Package agent is the host side of Leasehold: one per host, it runs machines through a driver and does what the highest
// fence it has ever seen tells it. It trusts nothing else. It has no access to etcd and decides nothing about placement.
//
// A conductor sends commands, each ordered by its claim: (fence, sequence). What an agent does with one:
//
//	a named resource or the task carries a higher fence      refused: stale_fence                     on arrival
//	another host epoch, another generation of the store      refused: wrong_epoch                     on arrival
//	what makes or starts an instance that was deleted here   refused: state_forbids                   on arrival
//	same fence, sequence below the highest seen              refused: stale_fence                     on arrival
//	same fence and sequence, another step                    refused: key_reused                      on arrival
//	same fence and sequence, running                         joined: its progress, then its result
//	same fence and sequence, ended                           the same answer again
//	same fence and sequence, begun and not ended             answer interrupted: the agent died in it
//	anything newer                                           begun; older work on the same resources is aborted first
//
// Invariants:
//
//	A1  A fence, a tombstone, a begun or an ended step is on disk, synced, before anybody is told of it (P1, P5).
//	A2  Fences and tombstones never go back and are never forgotten while they can refuse anything. A tombstone is for ever;
//	    a day after the delete it is all that is left of the instance, and holds its fence.
//	A3  Before each driver call, under the instance's mutex, the fence is compared once more (P1). A create is two calls, a
//	    destroy one and one more for each image that goes with the machine.
//	A4  Fence answers only when no older driver call is under way any more, or it answers with an error (P1, P2).
//	A5  After a delete has been answered no command makes or starts that instance here again (P2).
//	A6  A record that was acknowledged is never dropped in silence: a journal with a damaged middle is refused (P5). Only a
//	    last frame that was cut short is dropped; it was never acknowledged.
//	A7  A machine is destroyed by a command under a fence or by a verdict under a fence, never on a guess.
//	A8  A secret is opened right before the driver call that needs it, with the key of the data directory, and is in no
//	    journal, log, error or answer. One that was sealed for another host, instance or task cannot be opened.
//
// Images that machines were copied to outlive them, and carry no fence of their own: ids are never used twice. They are made
// by commands, read by agents of other hosts (NewFetch), and dropped by a command or because they have no record any more.
//
// What machines do by themselves is told as it is seen. Events may be lost on the way, so every machine is told again after
// each registration and about every Config.Resync, for one list of the host; what was told of and is gone by then, too.
//
// Order of locks: work that others join is in the running table (Agent.mu), then the book (book.mu). The mutexes of
// instances are taken with neither held.
//
// The crash points, for tests that kill the process there: the function Config.Point is called with
//
//	journal:before:W  journal:after:W     W = fence begin end tombstone epoch process; after means synced
//	journal:before:sync  journal:after:sync   around the one write and fsync that a group of them shares
//	driver:before:C   driver:after:C      C = prepare start stop reboot pause unpause suspend resume rescue unrescue
//	                                          rebuild snapshot export drop password destroy interrupt
package agent
