// Package conductor is one replica of the control plane: it admits requests, drives tasks, takes over those whose driver
// died, and answers the API. Replicas share nothing but etcd; any of them may be asked anything.
//
//	request -> admit*.go  one transaction: task, reservation, claim, locks          (or a refusal that explains itself)
//	        -> worker.go  the workflow engine runs the flow of package tasks
//	        -> act.go     each effect is an agent call that carries the fence
//	        -> record.go  each outcome is a transaction that compares the claim; the last one ends everything
//	death   -> orphans.go a claim that vanished while its task is open: rank, claim, fence, look, decide, go on
//	waiting -> grants.go  the oldest ticket whose resources are free
//	hosts   -> hosts.go   registration, verdicts on found machines, host leases; sight.go: what the hosts see
//	people  -> service*.go gRPC, rest.go the same over REST, explain.go why
//
// Invariants, each with the promise that rests on it:
//
//	A1  A task is written with its reservation in one transaction; nothing is admitted in two (P5).
//	A2  Every write for a task goes through worker.commit, which compares the claim, the store's generation and every
//	    record it rewrites (P1).
//	A3  Every effect goes through worker.Act or worker.Fence, which carry the claim's fence and check the trust window
//	    first (P1, P2).
//	A4  A takeover fences every host that may hold anything of the instance before it reads anything there, and of the
//	    hosts that the task touched and has confirmed clean those that live (P2).
//	A5  The transaction that ends a task removes everything that was taken for it (P6).
package conductor
