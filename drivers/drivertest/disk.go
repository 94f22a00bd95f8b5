package drivertest

import (
	"github.com/stretchr/testify/require"

	"leasehold/vm"
)

// writes has the ready guest mark the disk that it started from. Without the hook the mark is empty, and nobody looks
// for it.
func (h *host) writes(id vm.InstanceID) string {
	h.t.Helper()
	if h.Disk == nil {
		return ""
	}
	return h.Disk.Write(h.t, h.d, id)
}

// reads says that the ready guest started from the disk with the mark.
func (h *host) reads(id vm.InstanceID, mark string) {
	h.t.Helper()
	if h.Disk != nil {
		require.Equal(h.t, mark, h.Disk.Read(h.t, h.d, id), "the disk is another")
	}
}

// readsNot says that it did not.
func (h *host) readsNot(id vm.InstanceID, mark string) {
	h.t.Helper()
	if h.Disk != nil {
		require.NotEqual(h.t, mark, h.Disk.Read(h.t, h.d, id), "the disk is the old one")
	}
}
