// Package crashpoint kills a process, for real, at a named point. It is empty unless the program was built with the tag
// crashpoints, which only the integration tier does: a shipped binary has no such door.
//
// With the tag, the folder in LEASEHOLD_CRASH_DIR is the way to tell: every point that any process passes is appended to its
// file "passed"; while it holds a file "armed" with a point and a number n, the process that passes this point as the nth
// since then sends itself SIGKILL.
package crashpoint
