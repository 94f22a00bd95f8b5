package drivertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func infoOffersCapacity(h *host) {
	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	info, err := h.d.Info(ctx)
	require.NoError(h.t, err)
	require.NotEmpty(h.t, info.Driver)
	require.Positive(h.t, info.Capacity.VCPUs)
	require.Positive(h.t, info.Capacity.MemoryMiB)
	require.Positive(h.t, info.Capacity.DiskGiB)
}

func callsOutOfOrder(h *host) {
	s := h.Spec(h.t)
	require.ErrorIs(h.t, h.once(start(s.ID)), drivers.ErrNoMachine)
	h.gone(s.ID)
	for name, c := range map[string]call{
		"pause": pause(s.ID), "unpause": unpause(s.ID), "reboot": reboot(s.ID, 0), "suspend": suspend(s.ID),
		"unrescue": unrescue(s.ID), "snapshot": snapshot(s.ID, h.imageID()),
	} {
		if err := h.once(c); !errors.Is(err, drivers.ErrUnsupported) {
			require.ErrorIs(h.t, err, drivers.ErrNoMachine, name)
		}
	}
	if err := h.once(stop(s.ID, 0)); err != nil { // off already, or not there: both are true
		require.ErrorIs(h.t, err, drivers.ErrNoMachine)
	}
	require.NoError(h.t, h.once(destroy(s.ID)))
	h.gone(s.ID)

	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(stop(s.ID, 0)))
	h.idle(s.ID)
	require.NoError(h.t, h.once(start(s.ID)))
	require.NoError(h.t, h.once(stop(s.ID, 0)))
	require.Error(h.t, h.once(pause(s.ID)), "what is off has nothing to pause")
	require.Error(h.t, h.once(unpause(s.ID)), "what is off does not go on")
	h.wants(s.ID, vm.PowerShutdown)
}

func unusableSpecs(h *host) {
	for _, id := range []vm.InstanceID{"", ".", "..", "../x", "a/b"} {
		s := h.Spec(h.t)
		s.ID = id
		require.Error(h.t, h.once(prepare(s)), "an id that is no file name: %q", id)
	}
	s := h.Spec(h.t)
	s.Image.URL = "nonsense:default"
	require.ErrorIs(h.t, h.once(prepare(s)), drivers.ErrBadImage)
	err := h.once(start(s.ID))
	require.ErrorIs(h.t, err, drivers.ErrNoMachine, "half-made is not made")
	require.NoError(h.t, h.once(destroy(s.ID)))
	h.gone(s.ID)
	require.Empty(h.t, h.listed())
}

// nothingBeforeStart makes every other call on a machine that was never started (I2).
func nothingBeforeStart(h *host) {
	id := h.prepared()
	for name, c := range map[string]call{
		"stop": stop(id, 0), "unpause": unpause(id), "pause": pause(id), "interrupt": interrupt(id, false),
		"suspend": suspend(id), "resume": resume(id), "snapshot": snapshot(id, h.imageID()),
		"soft reboot": reboot(id, 100*time.Millisecond), "hard reboot": reboot(id, 0),
	} {
		_ = h.once(c) // may be refused
		m := h.inspect(id)
		require.True(h.t, m.Exists, "after %s", name)
		require.NotEqual(h.t, vm.PowerRunning, m.PowerState, "after %s", name)
	}
	h.restart()
	h.idle(id)
	require.NoError(h.t, h.once(start(id)))
	h.wants(id, vm.PowerRunning)
}

// nothingAfterDestroy makes every call but Prepare on a machine that has ended (P2, I2).
func nothingAfterDestroy(h *host) {
	s := h.Spec(h.t)
	id := s.ID
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(id)))
	h.ready(id)
	require.NoError(h.t, h.once(destroy(id)))
	for range 2 {
		for name, c := range map[string]call{
			"start": start(id), "unpause": unpause(id), "pause": pause(id), "hard reboot": reboot(id, 0),
			"soft reboot": reboot(id, 100*time.Millisecond), "suspend": suspend(id), "resume": resume(id),
			"rescue": rescue(id, h.anImage()), "unrescue": unrescue(id), "rebuild": rebuild(s),
			"snapshot": snapshot(id, h.imageID()), "password": setPassword(id, "x"),
		} {
			err := h.once(c)
			require.Error(h.t, err, name)
			if !errors.Is(err, drivers.ErrUnsupported) {
				require.ErrorIs(h.t, err, drivers.ErrNoMachine, name)
			}
		}
		h.gone(id)
		h.restart()
	}
}

func prepareLeavesRunningAlone(h *host) {
	s := h.Spec(h.t)
	require.NoError(h.t, h.once(prepare(s)))
	require.NoError(h.t, h.once(start(s.ID)))
	require.NoError(h.t, h.once(prepare(s)))
	h.wants(s.ID, vm.PowerRunning)
	h.restart()
	require.NoError(h.t, h.once(prepare(s)))
	h.wants(s.ID, vm.PowerRunning)
}

func listIsWhatExists(h *host) {
	require.Empty(h.t, h.listed())
	want := []vm.InstanceID{h.prepared(), h.prepared(), h.prepared()}
	slices.Sort(want)
	require.Equal(h.t, want, h.listed())
	require.NoError(h.t, h.once(start(want[0])))
	require.NoError(h.t, h.once(start(want[1])))
	require.NoError(h.t, h.once(stop(want[1], 0)))
	require.Equal(h.t, want, h.listed())
	h.restart()
	require.Equal(h.t, want, h.listed())
	h.wants(want[0], vm.PowerRunning)
	h.wants(want[1], vm.PowerShutdown)
	h.idle(want[2])
	require.NoError(h.t, h.once(destroy(want[0])))
	require.Equal(h.t, want[1:], h.listed())
	require.NoError(h.t, h.once(destroy(want[1])))
	require.NoError(h.t, h.once(destroy(want[2])))
	h.restart()
	require.Empty(h.t, h.listed())
}

// litterIsKept: what nobody understands may be somebody's disk. It is shown, refused and never destroyed on a guess.
func litterIsKept(h *host) {
	require.NoError(h.t, h.d.Close())
	id := h.Litter(h.t, h.dir)
	h.d = h.New(h.t, h.dir)
	for range 2 {
		m := h.inspect(id)
		require.True(h.t, m.Exists)
		require.True(h.t, m.Unknown)
		require.NotEqual(h.t, vm.PowerRunning, m.PowerState)
		require.Equal(h.t, []vm.InstanceID{id}, h.listed())
		require.Error(h.t, h.once(start(id)))
		require.Error(h.t, h.once(destroy(id)), "nil would say that nothing is left")
		h.restart()
	}
}

func machinesAreIndependent(h *host) {
	a, b := h.started(), h.started()
	require.NoError(h.t, h.once(stop(a, 0)))
	h.wants(b, vm.PowerRunning)
	require.NoError(h.t, h.once(start(a)))
	require.NoError(h.t, h.once(destroy(a)))
	h.gone(a)
	h.wants(b, vm.PowerRunning)
	require.Equal(h.t, []vm.InstanceID{b}, h.listed())
}

// machinesLiveAtTheSameTime lives four lives at once, with Inspect and List in between (I6).
func machinesLiveAtTheSameTime(h *host) {
	var lives sync.WaitGroup
	for range 4 {
		s := h.Spec(h.t)
		lives.Go(func() {
			for _, c := range []call{prepare(s), start(s.ID), stop(s.ID, 0), start(s.ID), destroy(s.ID)} {
				if err := h.once(c); err != nil {
					h.t.Errorf("cannot live beside others: %v", err)
					return
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { lives.Wait(); close(over) }()
	h.until("the end of four lives", func() bool {
		h.listed()
		select {
		case <-over:
			return true
		default:
			return false
		}
	})
	require.Empty(h.t, h.listed())
}

// endedContextEndsCalls: a call made after its context has ended may still find its work done, but it does not wait.
func endedContextEndsCalls(h *host) {
	ended, cancel := context.WithCancel(h.t.Context())
	cancel()
	id := h.started()
	for name, c := range map[string]call{
		"prepare": prepare(h.Spec(h.t)), "stop": stop(id, time.Hour), "start": start(id), "reboot": reboot(id, time.Hour),
		"pause": pause(id), "unpause": unpause(id), "suspend": suspend(id), "resume": resume(id),
		"rescue": rescue(id, h.anImage()), "unrescue": unrescue(id), "snapshot": snapshot(id, h.imageID()),
		"password": setPassword(id, "x"), "destroy": destroy(id),
	} {
		began := time.Now()
		_ = h.ends(h.beside(ended, c))
		require.Less(h.t, time.Since(began), Patience/2, name)
	}
	_, err := h.d.List(h.t.Context())
	require.NoError(h.t, err)
}

// moments are when a context ends after its call has begun.
var moments = []time.Duration{0, 100 * time.Microsecond, 2 * time.Millisecond, 20 * time.Millisecond}

// cutShortAndAgain ends the context of each call at different moments; the repetition always comes to the end that one
// call would have reached (I1, I3).
func cutShortAndAgain(h *host) {
	for _, after := range moments {
		s := h.Spec(h.t)
		h.cut(after, s.ID, prepare(s))
		h.idle(s.ID)
		h.cut(after, s.ID, start(s.ID))
		h.wants(s.ID, vm.PowerRunning)
		h.cut(after, s.ID, stop(s.ID, 0))
		h.wants(s.ID, vm.PowerShutdown)
		h.cut(after, s.ID, start(s.ID))
		h.wants(s.ID, vm.PowerRunning)
		h.cut(after, s.ID, destroy(s.ID))
		h.gone(s.ID)
	}
}

// cutOnly makes a call whose context ends soon; Inspect always answers afterwards.
func (h *host) cutOnly(after time.Duration, id vm.InstanceID, c call) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), after)
	defer cancel()
	_ = h.ends(h.beside(ctx, c))
	h.inspect(id)
}

// cut makes the call once more, to its end.
func (h *host) cut(after time.Duration, id vm.InstanceID, c call) {
	h.t.Helper()
	h.cutOnly(after, id, c)
	require.NoError(h.t, h.once(c), "again after %s", after)
}
