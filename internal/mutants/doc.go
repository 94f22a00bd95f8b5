// Command mutants shows that each guard is necessary: it switches them off one at a time, in a build overlay and never in
// the tree, and demands that the test named for it fails. A guard that can be removed without a test noticing is either
// not needed or not tested.
//
// A guard is found by the comment "mutant:<name>" at the end of its line, so that a moved line takes its mutant along.
package main
