// Command fsmdoc prints the tables of package fsm to docs/fsm: drawings for graphviz, an SVG of all verdicts, and pages
// with every row and its reason. With -check it writes nothing and fails when a page is not what the tables say.
//
// Run it from the repository: go run ./internal/fsmdoc [-check] [-root DIR].
package main
