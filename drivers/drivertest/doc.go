// Package drivertest holds every driver to the rules of package drivers. A driver's own test makes a Harness and calls
// Run; what only its hypervisor can do (a guest that shuts itself down, a hypervisor that hangs) the Harness supplies as
// hooks. Without a hook the rules that need it are left out, not skipped: the list of subtests is what was proven.
//
//	I1  each story runs three times: each call once, each call twice, each call repeated by a successor agent
//	I2  nothing executes before Start or after Destroy, whatever else is called
//	I3  a call ends soon after its context, and can then be made again
//	I4  the successor agent, a new Driver on the same directory, finds what its predecessor left
//	I5  reports carry the phases of the seam and end with the call; every hang ends by context or Interrupt
//	I6  machines live side by side, and a hung one delays only itself
//
// What a power promises about a guest's memory and disks is seen through hooks that have the guest itself look: saved
// memory still counts, a rescue disk and a rebuilt one lack the mark that the guest left on its own, and a machine made
// of an image has it. Nothing of that needs a look into a driver's files.
//
// Power states are read through Inspect alone. Nothing sleeps: what a guest does by itself is waited for with a deadline
// that suits emulated machines on a busy host.
package drivertest
