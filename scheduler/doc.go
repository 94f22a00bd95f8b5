// Package scheduler says where an instance goes, and keeps the sums of what is promised. It is a function of the records
// it is given: no I/O, no clock, no memory.
//
//	request, candidates -> filter: up, enabled, requested, fresh, fits -> weigh: spread -> Decision, or NoHostError
//
// A decision is advice. It becomes true in the transaction that writes Reserve's result and compares the allocations'
// mod revision; whoever loses that compare looks again and places again.
//
// Invariants, held by the tests:
//
//	I1  Sum = sum(Instances) after every Reserve and Release.
//	I2  Reserve never makes a host fuller than its capacity.
//	I3  Reserve and Release may be repeated, and leave their input as it was.
//	I4  Place, Explain and NoHostError agree: a host is chosen or has the reason of the first filter that stops it (P8).
//	I5  The same records give the same decision in every conductor.
package scheduler
