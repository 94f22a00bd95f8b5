// Package workflowtest holds a flow to what the engine needs of it. Run puts it through the same tests as every other:
//
//	succeeds          all steps once
//	twice             each Do and each Undo runs twice in a row: both are idempotent
//	fails             at each step, before its effect and after it, and with the answer lost: the world is as before
//	crashes           at each record, before and after its commit, also while it unwinds: a fresh engine that has only
//	                  the durable log comes to the same end
//	cancelled         in and after each step
//
// All of it happens in synctest bubbles, so waits cost nothing and the world of a case must be in memory.
//
// The parts serve other tests as well: Recorder is a log store that can crash and refuse, Traced writes the order of
// calls in one line, and Script makes steps fail by one line.
package workflowtest
