// Package fsm is the rules: which action is legal when, what state it leads to, what a failure leaves, and what is done
// after a crash. The rules are tables with a reason in every row; the functions only look things up. Nobody else
// decides a vm_state.
//
//	Actions      (vm_state, verb) -> task_state while it runs, vm_state after it     Decide Legal AfterSuccess
//	Refusals     (vm_state, verb) that is not an action -> already so, or denied     Verdict.Refusal
//	Recoveries   task_state -> what a successor does, what a failure leaves          Recover AfterFailure
//	Restarts     what an agent finds on its disk when it starts -> what it does
//	PowerRules   (vm_state, power_state) of an idle instance -> keep, follow the machine, or put it right   OnPower OnHostBoot
//	Transitions  status of a task -> next status                                     Step
//
// The way of an instance; the whole drawing is docs/fsm/actions.dot, printed from the tables:
//
//	create -> building -> active <-> paused | suspended | stopped | rescued
//	any -> error      a failure that could not be undone; only what repairs it is legal, and delete
//	any -> deleted    delete is legal everywhere and preempts
//
// Invariants, held by the tests:
//
//	I1  Each pair of vm.States x vm.Verbs has a row in exactly one of Actions and Refusals; a pair that depends on
//	    the error it is in has one in each.
//	I2  Each of vm.TaskStates has a row in Recoveries (P4).
//	I3  Delete is legal in every state, with any task and with any host (P4).
//	I4  All rows of one (vm_state, verb) lead to one vm_state; the mode changes the way, not the end.
//	I6  Each pair of vm.States x vm.PowerStates has exactly one row in PowerRules, and each correction has its row.
//	I5  What a failure allows has an action row from error, so a promise in error.allowed can be kept.
//
// The verdict given at admission is courtesy; the transaction that admits compares the record it was given for. The
// package does no I/O and reads no clock. It does not know quotas, permissions, or whether an action is built yet.
package fsm
