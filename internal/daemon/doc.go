// Package daemon is what the long-running programs of Leasehold have in common beside their work: how they are told to
// stop, with which code they end, how they log, where they may listen, and that two of them never share a directory.
//
//	0  it was told to stop, and has
//	1  it cannot go on
//	2  the command line, the environment or the configuration file is wrong; nothing was done
//
// SIGTERM, SIGINT and SIGHUP (the terminal was closed) ask for a clean stop; the second one ends the process at once.
package daemon
