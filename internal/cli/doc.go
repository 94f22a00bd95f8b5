// Package cli is vmctl: its commands, flags, configuration and exit codes. The binary only calls Main.
//
//	settings   flags, LEASEHOLD_* and the configuration file, in this order
//	app        what all commands share: the client, the printer, how an error ends the process
//	order      what becomes a task: --request-id, --wait, and what is said when somebody leaves early
//	follow     waiting for a task with a progress line
//	events     what happens, over conductors that die
//	prompt     what is asked of a person at a terminal; never of a script
//	complete   names for the shell, asked from the server
//
// Invariants:
//
//	I1  Standard output carries data only. What a person reads beside it, progress too, is on standard error.
//	I2  An order carries a request_id, so that asking again after a lost answer is not ordering twice (P5).
//	I3  Leaving, by Ctrl-C or --wait-timeout, never stops a task; its id is printed.
//	I4  A secret is never an argument and never shown; a prompt that is left gives the terminal back as it was.
//	I5  Ids are not resolved here: beginnings and names go to the server as they were typed.
package cli
