// Command bench measures two figures beside their floor, in one run on one machine: how fast instances are stopped by 64
// clients through REST, against raw etcd transactions of the same shape by 64 clients; and how fast a task runs again after
// the conductor that drives it was killed, against the bare steps that this takes.
//
// Ratios are what counts: both sides share the machine, the disk and the moment. Load generator, etcd, three conductors and
// two simulated hosts share the cores; CPU time is counted for each of them.
package main
