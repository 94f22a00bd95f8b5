// Package invariant says what must be true of all records of a store at any one revision, whatever has died. It is a pure
// function over the keys: tests run it after every kill, an operator with GET /v1/check.
//
//	P1  one actor    every instance's reservation names an open task that names it, and the other way round; claim and
//	                 locks of a task are one conductor's, under one lease, and cover all that the task has taken
//	P2  one machine  an instance is promised room on its host and on no other; an idle one was last seen running there only
//	P6  no leak      what hangs on a task or an instance goes with it: locks, claims, tickets, cancels, reservations,
//	                 observations, names, room on hosts; a leased key has its lease and a durable one has none
//
// Everything that a rule compares is written in one transaction, so a rule holds at every revision and not only at rest.
// Where a task under way may be between two of its transactions, the rule is for idle instances.
package invariant
