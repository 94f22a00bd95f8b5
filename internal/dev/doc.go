// Package dev runs a whole cluster on this machine, as child processes of this one: the store, conductors, hosts.
//
//	etcd  <-  c1 c2 c3  <-  h1 h2        start order; they stop in reverse
//
// Everything is kept in one directory:
//
//	dev.json     who runs where, with which pid; see State
//	logs/        one file a process
//	etcd/ compute/
//
// Invariants:
//
//	D1  No child outlives this process, however it ends: the kernel kills them. Machines do, as they outlive any agent.
//	D2  A child that ends by itself is reported, and started again only when that was asked for.
//	D3  A temporary directory is gone after a clean stop, with the machines that were made in it.
package dev
