// Package locks says who acts on what: the claim of a task and the locks of all its resources, taken together or not at
// all, and the queue of those that wait for a shared resource. It makes guards and writes for the one transaction that its
// caller commits; it never commits by itself.
//
//	reservation  durable, the field task of a record   what is taken    excludes other tasks
//	claim        leased, claims/<task>                 who drives it    its create revision is the fence
//	lock         leased, locks/<kind>/<id>             who acts on it   shows it to people and stops hasty admissions
//
//	L1  A claim and all locks of a task are written in one transaction and hang on one lease: they vanish together.
//	L2  Every write for a task compares its claim: Held.Guards. Two conductors on one task never interleave (P1).
//	L3  A task's tickets are written in one transaction, so they have one revision and stand in the same order in every
//	    queue: no deadlock, no starvation.
//	L4  An acquired set is never extended. A takeover never queues.
//	L5  Exclusion rests on reservations and compares alone, never on leases, watches or clocks.
package locks
