package tasks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
)

func TestADeleteTearsDownEveryHostThatMayHoldAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
		require.Equal(t, []string{"teardown h1", "teardown h2"}, worldOf(w).acts)
		gone(t, w)
	})
}

func TestADeleteOfWhatWasNeverPlacedTouchesNoHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSite("h1").admit(vm.Delete, vm.Instance{State: vm.Building}, "")
		require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
		require.Empty(t, worldOf(w).acts)
		require.True(t, w.Gone)
	})
}

// P4, P6: what a hypervisor does not let go of is tried again, for as long as it takes, and what is gone is not asked for
// again meanwhile.
func TestADeleteNeverGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		s := worldOf(w).site
		s.hosts["h2"].fails["teardown"] = 50
		began := time.Now()
		out := finish(t, w, nil, nil)
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
		gone(t, w)
		require.Equal(t, 51, out.Log[0].Try)
		require.Len(t, s.acts, 1+51, "h1 once")
		require.Less(t, time.Since(began), 51*30*time.Second, "it waits at most 30 s between two tries")
	})
}

// While one host is waited for, the record does not name another that holds nothing any more, and its room is free.
func TestADeleteGivesRoomBackHostByHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		s := worldOf(w).site
		s.hosts["h2"].fails["teardown"] = always
		ctx, kill := context.WithCancel(t.Context())
		worldOf(w).acted = func(string) {
			if len(s.acts) == 3 {
				kill()
			}
		}
		_, err := drive(ctx, w, nil, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []vm.HostName{"h2"}, s.inst.Footprint)
		require.Empty(t, s.inst.Host)
		require.Empty(t, s.hosts["h1"].promised.Instances)
	})
}

// P3: a conductor that cannot reach the agent, or was replaced, leaves the task to another one.
func TestADeleteIsLeftToAConductorThatCanGoOn(t *testing.T) {
	for name, spoil := range map[string]func(h *host){
		"the agent cannot be reached": func(h *host) { h.away = true },
		"a newer fence is known":      func(h *host) { h.fence = 99 },
	} {
		t.Run(name, bubble(func(t *testing.T) {
			t.Helper()
			for _, preempts := range []vm.TaskID{"", "t0"} {
				w := deleting(preempts)
				spoil(worldOf(w).hosts["h1"])
				began := time.Now()
				out, err := drive(t.Context(), w, nil, nil)
				require.Error(t, err)
				require.Zero(t, time.Since(began), "it does not try again itself")
				require.Equal(t, workflow.StepDoing, out.Log[0].Status, "it goes on where this one stopped")
				require.Empty(t, worldOf(w).acts)
			}
		}))
	}
}

// P4: the task that a delete preempted may hang in the hypervisor for ever.
func TestADeleteGetsPastTheCallThatTheTaskBeforeItHangsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("t0")
		began := time.Now()
		require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
		gone(t, w)
		require.Zero(t, time.Since(began), "it did not wait for a deadline")
	})
}

// P2: no command that is still on its way brings the machine back.
func TestWhatWasDeletedCannotBeMadeOrStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		s := worldOf(w).site
		finish(t, w, nil, nil)
		s.inst.Host, s.inst.State = "h1", vm.Stopped
		late := s.work(&world{site: s, fence: worldOf(w).fence})
		late.Task.Kind = vm.Start
		out, err := drive(t.Context(), late, nil, nil)
		require.NoError(t, err)
		require.Equal(t, workflow.Failed, out.Result)
		require.ErrorContains(t, out.Err, "was deleted on this host")
		require.Nil(t, s.hosts["h1"].machine)
	})
}

// A crash between two hosts.
func TestADeleteGoesOnAfterACrashBetweenTwoHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := deleting("t0")
		ctx, kill := context.WithCancel(t.Context())
		worldOf(dead).acted = func(string) { kill() }
		out, err := drive(ctx, dead, nil, nil)
		require.ErrorIs(t, err, context.Canceled)
		w := takeOver(t, dead)
		settled := finish(t, w, out.Log, nil)
		require.Equal(t, workflow.Succeeded, settled.Result)
		gone(t, w)
	})
}

func TestADeleteCannotBeCancelled(t *testing.T) {
	kind := tasks.All()[vm.Delete]
	require.True(t, workflow.TooLate(kind.Flow, workflow.Begin(kind.Flow, time.Now())))
}
