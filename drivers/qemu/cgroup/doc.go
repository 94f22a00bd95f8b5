// Package cgroup gives every machine a folder in the cgroup2 hierarchy, for one purpose: to kill all its processes for
// sure and to prove it. It sets no limits.
//
//	<mount>/leasehold/<name>        the shim
//	<mount>/leasehold/<name>/qemu   the hypervisor
//
// Without cgroup2, or without the right to make folders there, Find says so and the machine's lock alone is the proof.
package cgroup
