// Package processes starts a Leasehold cluster of real processes on loopback: etcd, conductors, computes. Benchmarks and the
// integration tier use it; they kill, stop and continue the processes, which they know by pid. Every child ends with its
// parent.
package processes
