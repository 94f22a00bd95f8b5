// Package layers holds the order of the packages, as tests over what "go list" says:
//
//	6  integration                                          the test of the whole
//	5  cmd/conductor cmd/compute cmd/vmctl                  flags, wiring, exit codes
//	4  conductor            agent            console        admission, takeover, API | host side | web
//	3  tasks                drivers <- sim, qemu            one file per task kind | one per hypervisor
//	2  workflow  scheduler  locks -> liveness -> coord      engine | placement | who acts, who lives, records
//	1  fsm                  api        internal             rules | wire | plumbing
//	0  vm                                                   words
//
// Invariants, each with its reason in the table:
//
//	I1  A package imports only lower rows, and on its own row only along the arrows.
//	I2  What a package must never reach, it does not reach through others either: an agent's binary holds no etcd.
//	I3  Only coord, liveness, locks, the embedded server and plumbing import etcd; tests start one with coord/coordtest.
//	I4  vm, fsm and scheduler do no I/O.
//	I5  Test helpers (a name that ends in "test") are imported by tests only.
//	I6  Every package stands in the table, and .golangci.yml refuses what the table refuses, so an editor shows it.
//
// It has no code for others to call.
package layers
