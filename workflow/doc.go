// Package workflow is the engine that drives a task through its steps: a saga over an intent log which somebody else
// makes durable. It knows neither machines nor stores. What a step does is the flow's, where the log lives is the
// Recorder's, who may work is the Guard's.
//
//	            Begin             Record              Record             caller's commit
//	admission ────────▶ a doing ────────▶ a done    ────────▶ b done    ────────▶ succeeded
//	                                      b doing             c doing
//	                                        │ failed, or cancelled: undo b itself, then what came before it
//	                                        ▼
//	                                      b failed  ────────▶ b undone  ────────▶ failed, cancelled
//	                                      b undoing           a undoing
//
// One write carries the outcome of one step and the intent of the next, so a flow of n steps costs n+1 writes: the
// first intent goes with the admission (Begin), the last outcome with the caller's closing transaction (Outcome.Log).
//
// Invariants:
//
//	I1  Intent before effect: when Do or Undo of a step runs, the durable log ends with that step doing or undoing.
//	I2  Only the last entry of a log is open (doing or undoing); all others are settled and never change.
//	I3  Next is pure and total: every log has a decision, one that this flow cannot have written included (P4).
//	I4  Every log ends: a step starts over at most Rounds times, counted in the log, so a takeover resets nothing (P3).
//	I5  Undo runs in the reverse order of Do, over every step that was begun: a step that failed, or was cancelled in
//	    its Do, may have left something and is undone first (P6).
//	I6  Nothing below a done NoReturn step is ever undone, and no cancel is heard from its intent on.
//	I7  After ctx has ended, or Guard, Record or Abandon has said stop, nothing is begun and nothing is recorded (P1).
//	I8  No two functions of one flow run at once: the engine joins a Do before it goes on, whatever ended it (P1).
//
// What a flow must give in return: Do and Undo may be run again after a crash at any line of either; Undo may follow a
// Do that never began, half happened or happened twice; all three functions return soon after their context ends, and a
// Do that works longer than Silence beats.
//
// Package workflowtest holds every flow to that.
package workflow
