// Package cluster starts whole Leasehold clusters inside a test process: real embedded etcd, conductors, agents and the
// simulated driver, over real sockets on loopback. It can kill any of them at a named point.
//
// A killed conductor loses at one instant what a SIGKILL takes: its connections to etcd, its listening address and every
// connection to and from it. The goroutine that reached the point stays frozen until Thaw, so that a killed conductor can
// also come back as a stopped process that continues (its connections are still gone, its memory is not).
//
// A killed agent leaves a copy of its directories as they were at the point; the next one starts from that copy.
package cluster
