// Vmctl is the command line of Leasehold: it asks the conductors, over gRPC, and prints what they answer.
//
//	vmctl instance create web-1 --flavor tiny --image default --wait
//	vmctl instance list
//	vmctl explain web-1
//	vmctl instance events web-1
//	vmctl fsm show
//
// Flags may also stand in the environment (LEASEHOLD_SERVER, LEASEHOLD_PROJECT, LEASEHOLD_OUTPUT, LEASEHOLD_TIMEOUT) and in
// the file leasehold/vmctl.yaml of the user's configuration folder, under their own names; the first of the three that
// has it wins:
//
//	server: [10.0.0.1:7001, 10.0.0.2:7001]
//	project: default
//	output: table
//	timeout: 30s
//
// Standard output carries data only. On a terminal sentences are wrapped, and ids are short where whole ones do not
// fit; into a file or a pipe each row is one line with whole ids. It ends with one of these codes:
//
//	  0  done; with --wait the task succeeded, without it the task was accepted
//	  1  the task failed or was cancelled; or check found violations
//	  2  the command line, the configuration or a value in it is wrong
//	  3  there is no such instance, task, image, flavor or host
//	  4  not now: a task is in the way, the state forbids it, the host is down, the name is taken, it is too late
//	  5  a quota or the capacity is exhausted
//	  6  no conductor answered, or the store behind it is away; it may help to try again
//	  7  not authenticated, or not allowed
//	  8  this server cannot do it
//	  9  --wait-timeout is over; the task goes on
//	 10  a bug, of the server or of vmctl
//	130  Ctrl-C; a task that was waited for goes on
//
// The commands are in package internal/cli; this one gives them the process.
package main
