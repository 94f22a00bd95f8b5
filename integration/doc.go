// Package integration proves the promises on whole clusters. In this process, as part of every test run: the crash matrix,
// the cost of each task in transactions, races, queues, what an idle cluster does. With the build tag integration: the
// same on real processes that are really killed, and on real QEMU.
package integration
