package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/vm"
)

// P4: delete is legal in every state, with any task and with any host.
func TestDeleteIsLegalInEveryStateWithAnyTaskAndHost(t *testing.T) {
	for _, state := range vm.States() {
		for _, ts := range append(vm.TaskStates(), vm.Idle) {
			for _, down := range []*fsm.Down{nil, {Host: "h1"}} {
				s := fsm.Subject{State: state, TaskState: ts, Down: down}
				if state == vm.Deleted && ts != vm.Idle && ts != vm.Deleting {
					continue // what is deleted is held by its delete only
				}
				v := fsm.Decide(s, vm.Delete, fsm.Auto)
				require.Equalf(t, fsm.Allowed, v.Kind, "%+v", s)
				require.Equal(t, vm.Deleted, v.To)
				require.Equal(t, ts == vm.Deleting, v.Joins)
				require.Nil(t, v.Refusal("web-1"))
				require.Contains(t, fsm.Legal(s), vm.Delete)
			}
		}
	}
}

func TestATaskRefusesEverythingButDelete(t *testing.T) {
	for _, state := range vm.States() {
		for _, ts := range vm.TaskStates() {
			for _, on := range vm.Verbs() {
				if on == vm.Delete {
					continue
				}
				v := fsm.Decide(fsm.Subject{State: state, TaskState: ts, Task: "t1"}, on, fsm.Auto)
				require.Equal(t, fsm.Denied, v.Kind)
				if state == vm.Deleted { // its delete waits for a host; for people it is gone
					require.Equal(t, vm.ReasonStateForbids, v.Reason)
					continue
				}
				require.Equal(t, vm.ReasonTaskInProgress, v.Reason)
				require.Equal(t, vm.TaskID("t1"), v.Refusal("web-1").Task)
			}
		}
	}
}

func TestAReservationWithoutTaskStateIsATask(t *testing.T) {
	v := fsm.Decide(fsm.Subject{State: vm.Active, Task: "t1"}, vm.Stop, fsm.Auto)
	require.Equal(t, vm.ReasonTaskInProgress, v.Reason)
	require.Contains(t, v.Refusal("web-1").Message, "while task t1 holds it")
}

func TestAnErrorAllowsWhatItLists(t *testing.T) {
	s := fsm.Subject{State: vm.Error, Fault: &vm.Fault{Allowed: []vm.Verb{vm.Rebuild, vm.Reboot, vm.Pause}}}
	require.Equal(t, []vm.Verb{vm.Reboot, vm.Rebuild, vm.Delete}, fsm.Legal(s), "pause repairs nothing, listed or not")
	require.Equal(t, []vm.Verb{vm.Delete}, fsm.Legal(fsm.Subject{State: vm.Error}))

	require.Equal(t, fsm.Denied, fsm.Decide(s, vm.Reboot, fsm.RebootSoft).Kind)
	require.Equal(t, vm.RebootingHard, fsm.Decide(s, vm.Reboot, fsm.Auto).Row.Via)
}

func TestAStateEnteredFromRescuedReturnsToIt(t *testing.T) {
	for state, back := range map[vm.State]vm.Verb{vm.Paused: vm.Unpause, vm.Suspended: vm.Resume, vm.Stopped: vm.Start} {
		s := fsm.Subject{State: state}
		require.Equal(t, vm.Active, fsm.Decide(s, back, fsm.Auto).To)
		s.Rescued = true
		require.Equal(t, vm.Rescued, fsm.Decide(s, back, fsm.Auto).To)
		require.Equal(t, fsm.Already, fsm.Decide(s, vm.Rescue, fsm.Auto).Kind)

		end, err := fsm.AfterSuccess(s, back)
		require.NoError(t, err)
		require.Equal(t, vm.Rescued, end)
	}
}

func TestModesChooseTheWay(t *testing.T) {
	for _, c := range []struct {
		state vm.State
		on    vm.Verb
		mode  fsm.Mode
		down  bool
		via   vm.TaskState // empty when refused
		chose fsm.Mode
	}{
		{state: vm.Active, on: vm.Reboot, via: vm.Rebooting, chose: fsm.RebootSoft},
		{state: vm.Active, on: vm.Reboot, mode: fsm.RebootHard, via: vm.RebootingHard, chose: fsm.RebootHard},
		{state: vm.Active, on: vm.Move, via: vm.Migrating, chose: fsm.MoveLive},
		{state: vm.Active, on: vm.Move, mode: fsm.MoveCold, via: vm.Migrating, chose: fsm.MoveCold},
		{state: vm.Active, on: vm.Move, mode: fsm.MoveResize, via: vm.Resizing, chose: fsm.MoveResize},
		{state: vm.Active, on: vm.Move, mode: fsm.MoveRebuild},
		{state: vm.Active, on: vm.Move, down: true, via: vm.Migrating, chose: fsm.MoveCold},
		{state: vm.Active, on: vm.Move, mode: fsm.MoveRebuild, down: true, via: vm.Migrating, chose: fsm.MoveRebuild},
		{state: vm.Active, on: vm.Move, mode: fsm.MoveLive, down: true},
		{state: vm.Paused, on: vm.Move, via: vm.Migrating, chose: fsm.MoveLive},
		{state: vm.Paused, on: vm.Move, mode: fsm.MoveCold},
		{state: vm.Paused, on: vm.Move, down: true},
		{state: vm.Stopped, on: vm.Move, via: vm.Migrating, chose: fsm.MoveCold},
		{state: vm.Stopped, on: vm.Move, mode: fsm.MoveLive},
		{state: vm.Stopped, on: vm.Start, via: vm.PoweringOn},
		{state: vm.Stopped, on: vm.Start, down: true},
	} {
		s := fsm.Subject{State: c.state}
		if c.down {
			s.Down = &fsm.Down{Host: "h1"}
		}
		v := fsm.Decide(s, c.on, c.mode)
		require.Equalf(t, c.via, v.Row.Via, "%+v", c)
		require.Equalf(t, c.chose, v.Row.Mode, "%+v", c)
		require.Equalf(t, c.via != vm.Idle, v.Kind == fsm.Allowed, "%+v", c)
	}
}

func TestADeadHostLeavesDeleteAndMove(t *testing.T) {
	down := &fsm.Down{Host: "h1"}
	require.Equal(t, []vm.Verb{vm.Move, vm.Delete}, fsm.Legal(fsm.Subject{State: vm.Active, Down: down}))
	require.Equal(t, []vm.Verb{vm.Move, vm.Delete}, fsm.Legal(fsm.Subject{State: vm.Stopped, Down: down}))
	require.Equal(t, []vm.Verb{vm.Delete}, fsm.Legal(fsm.Subject{State: vm.Paused, Down: down}))
	require.Equal(t, []vm.Verb{vm.Delete}, fsm.Legal(fsm.Subject{State: vm.Suspended, Down: down}))
}

func TestCreateStartsFromNothingOnly(t *testing.T) {
	v := fsm.Decide(fsm.Subject{}, vm.Create, fsm.Auto)
	require.Equal(t, fsm.Allowed, v.Kind)
	require.Equal(t, vm.Scheduling, v.Row.Via)
	for _, state := range vm.States() {
		require.Equal(t, fsm.Denied, fsm.Decide(fsm.Subject{State: state}, vm.Create, fsm.Auto).Kind)
	}
	require.Equal(t, fsm.Denied, fsm.Decide(fsm.Subject{}, vm.Start, fsm.Auto).Kind)
	require.Equal(t, fsm.Denied, fsm.Decide(fsm.Subject{State: "melted"}, vm.Start, fsm.Auto).Kind)
}

// P8: every refusal says what, which instance, why not, and what is legal now.
func TestRefusalsExplainThemselves(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		s       fsm.Subject
		on      vm.Verb
		mode    fsm.Mode
		reason  vm.Reason
		already bool
		want    string
	}{
		{
			s: fsm.Subject{State: vm.Suspended}, on: vm.Pause, reason: vm.ReasonStateForbids,
			want: "cannot pause instance web-1 while suspended: its memory is on disk, resume it first; legal now are resume, rescue and delete",
		},
		{
			s: fsm.Subject{State: vm.Suspended}, on: vm.Suspend, reason: vm.ReasonStateForbids, already: true,
			want: "cannot suspend instance web-1 again: it is suspended; legal now are resume, rescue and delete",
		},
		{
			s: fsm.Subject{State: vm.Building}, on: vm.AttachVolume, reason: vm.ReasonStateForbids,
			want: "cannot attach volume to instance web-1 while building: it is still being made; legal now is delete",
		},
		{
			s: fsm.Subject{State: vm.Paused}, on: vm.Move, mode: fsm.MoveCold, reason: vm.ReasonStateForbids,
			want: "cannot move (cold) instance web-1 while paused: the mode can only be live; legal now are unpause, rescue, snapshot, move and delete",
		},
		{
			s: fsm.Subject{State: vm.Error}, on: vm.DetachPort, reason: vm.ReasonStateForbids,
			want: "cannot detach port from instance web-1 while in error: its error allows only what can repair it; legal now is delete",
		},
		{
			s: fsm.Subject{State: vm.Active, TaskState: vm.PoweringOff, Task: "t1"}, on: vm.SetPassword, reason: vm.ReasonTaskInProgress,
			want: "cannot set password of instance web-1 while powering_off (task t1): one task at a time works on an instance; legal now is delete, and to cancel the task",
		},
		{
			s: fsm.Subject{State: vm.Active, TaskState: vm.Deleting}, on: vm.Start, reason: vm.ReasonTaskInProgress,
			want: "cannot start instance web-1 while deleting: one task at a time works on an instance; legal now is delete",
		},
		{
			s: fsm.Subject{State: vm.Active, Down: &fsm.Down{Host: "h1", Since: since}}, on: vm.Stop, reason: vm.ReasonHostDown,
			want: "cannot stop instance web-1 while its host h1 is down since 2026-01-02T03:04:05Z: only the host's agent can do it; legal now are move and delete",
		},
		{
			s: fsm.Subject{State: vm.Active, Down: &fsm.Down{Host: "h1"}}, on: vm.Move, mode: fsm.MoveLive, reason: vm.ReasonHostDown,
			want: "cannot move (live) instance web-1 while its host h1 is down: only the host's agent can do it; the mode can only be cold or rebuild; legal now are move and delete",
		},
		{
			on: vm.Start, reason: vm.ReasonStateForbids,
			want: "cannot start instance web-1 before it exists: no rule makes it legal; nothing else is legal either",
		},
	} {
		r := fsm.Decide(c.s, c.on, c.mode).Refusal("web-1")
		require.NotNil(t, r)
		require.Equal(t, c.want, r.Message)
		require.Equal(t, c.reason, r.Reason())
		require.Equal(t, c.already, r.Already)
		require.Equal(t, fsm.Legal(c.s), r.Allowed)
		require.Equal(t, c.s.Task, r.Task)
		if c.reason == vm.ReasonHostDown {
			require.Equal(t, vm.HostName("h1"), r.Host)
			require.Equal(t, c.s.Down.Since, r.Since)
		}
	}
}

func TestOfTakesWhatTheRulesLookAt(t *testing.T) {
	fault := &vm.Fault{Allowed: []vm.Verb{vm.Start}}
	got := fsm.Of(vm.Instance{ID: "i1", State: vm.Error, TaskState: vm.PoweringOn, Task: "t1", Error: fault})
	require.Equal(t, fsm.Subject{State: vm.Error, TaskState: vm.PoweringOn, Task: "t1", Fault: fault}, got)
}
