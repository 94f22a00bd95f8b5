package drivertest

import (
	"context"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

// usesProcessors: what runs has run ever longer, what does not execute uses nothing.
func usesProcessors(h *host) {
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	require.Empty(h.t, h.usage(s.ID), "before the start")
	require.NoError(h.t, h.once(start(s.ID)))
	var first []drivers.VCPUUsage
	h.until("a vCPU that ran", func() bool {
		first = h.usage(s.ID)
		require.Len(h.t, first, s.Size.VCPUs)
		return first[0].Run > 0
	})
	h.restart()
	h.until("a vCPU that ran longer", func() bool {
		now := h.usage(s.ID)
		require.Len(h.t, now, s.Size.VCPUs)
		for i := range now {
			require.GreaterOrEqual(h.t, now[i].Run, first[i].Run)
			require.GreaterOrEqual(h.t, now[i].Wait, first[i].Wait)
		}
		return now[0].Run > first[0].Run
	})
	require.NoError(h.t, h.once(stop(s.ID, 0)))
	require.Empty(h.t, h.usage(s.ID), "after the end")
	_, err := h.d.(drivers.Meter).Usage(h.t.Context(), h.Spec(h.t).ID)
	require.ErrorIs(h.t, err, drivers.ErrNoMachine)
}

func (h *host) usage(id vm.InstanceID) []drivers.VCPUUsage {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	all, err := h.d.(drivers.Meter).Usage(ctx, id)
	require.NoError(h.t, err)
	return all
}
