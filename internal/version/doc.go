// Package version tells which build this is, for --version, the log's first line and the alive keys.
package version
