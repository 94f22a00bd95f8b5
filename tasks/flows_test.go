package tasks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/fsm"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
	"leasehold/workflow/workflowtest"
)

// at is the vm_state of an instance whose machine was seen in a power state.
var at = map[vm.PowerState]vm.State{
	vm.PowerRunning: vm.Active, vm.PowerPaused: vm.Paused, vm.PowerShutdown: vm.Stopped, vm.PowerSuspended: vm.Suspended,
}

// powers are the verbs that take a machine from one power state to another.
var powers = []struct {
	verb vm.Verb
	from vm.PowerState
	to   vm.PowerState
}{
	{vm.Start, vm.PowerShutdown, vm.PowerRunning},
	{vm.Stop, vm.PowerRunning, vm.PowerShutdown},
	{vm.Reboot, vm.PowerRunning, vm.PowerRunning},
	{vm.Pause, vm.PowerRunning, vm.PowerPaused},
	{vm.Unpause, vm.PowerPaused, vm.PowerRunning},
	{vm.Suspend, vm.PowerRunning, vm.PowerSuspended},
	{vm.Resume, vm.PowerSuspended, vm.PowerRunning},
}

func TestPowerFlows(t *testing.T) {
	for _, p := range powers {
		t.Run(string(p.verb), func(t *testing.T) {
			kind := tasks.All()[p.verb]
			workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
				Flow: kind.Flow, Saved: save, Successor: takeOver,
				New: func(*testing.T) *tasks.Work { return onHost(p.verb, p.from) },
				Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
					t.Helper()
					settle(t, kind, w, out)
					m := worldOf(w).hosts["h1"].machine
					require.Equal(t, at[m.power], w.Instance.State, "an instance is where its machine is")
					require.Nil(t, w.Instance.Error)
					if out.Result == workflow.Succeeded {
						require.Equal(t, p.to, m.power)
					}
					if out.Result == workflow.Succeeded && p.verb == vm.Reboot {
						require.Greater(t, m.boots, 1, "that it runs does not show that it was rebooted")
					}
				},
			})
		})
	}
}

// onHost is an instance on h1 whose machine is in a power state, and a verb for it.
func onHost(verb vm.Verb, power vm.PowerState) *tasks.Work {
	s := newSite("h1", "h2")
	s.place("h1", power)
	return s.admit(verb, vm.Instance{State: at[power], Host: "h1", Footprint: []vm.HostName{"h1"}}, "")
}

func TestCreateFlow(t *testing.T) {
	kind := tasks.All()[vm.Create]
	workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
		Flow: kind.Flow, Saved: save, Successor: takeOver,
		New: func(*testing.T) *tasks.Work { return building("h1", "h2", "h3") },
		Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
			t.Helper()
			settle(t, kind, w, out)
			if out.Result == workflow.Succeeded {
				made(t, w)
			} else {
				require.True(t, out.Undone)
				unmade(t, w)
			}
		},
	})
}

// building is an instance that is being made, and the hosts there are.
func building(hosts ...vm.HostName) *tasks.Work {
	return newSite(hosts...).admit(vm.Create, vm.Instance{State: vm.Building, Image: "image"}, "{}")
}

// made requires an instance that runs on one host and left nothing on others.
func made(t *testing.T, w *tasks.Work) {
	t.Helper()
	in := w.Instance
	require.Equal(t, vm.Active, in.State)
	require.Equal(t, []vm.HostName{in.Host}, in.Footprint)
	for name, h := range worldOf(w).hosts {
		require.Equal(t, name == in.Host, h.executes(), "%s", name)
	}
}

// unmade requires an instance of which nothing is left but its record.
func unmade(t *testing.T, w *tasks.Work) {
	t.Helper()
	in := w.Instance
	require.Equal(t, vm.Error, in.State)
	require.Empty(t, in.Error.Allowed, "without a host only delete is left")
	require.Empty(t, in.Host)
	require.Empty(t, in.Footprint)
	for name, h := range worldOf(w).hosts {
		require.Nil(t, h.machine, "%s", name)
		require.False(t, h.tombstone, "it was not deleted: it may be made here again")
	}
}

func TestDeleteFlow(t *testing.T) {
	for name, preempts := range map[string]vm.TaskID{"idle": "", "preempting": "t0"} {
		t.Run(name, func(t *testing.T) {
			kind := tasks.All()[vm.Delete]
			workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
				Flow: kind.Flow, Saved: save, Successor: takeOver,
				New: func(*testing.T) *tasks.Work { return deleting(preempts) },
				Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
					t.Helper()
					settle(t, kind, w, out)
					if out.Result == workflow.Succeeded {
						gone(t, w)
						return
					}
					require.False(t, w.Gone, "the record stays as long as anything may be left")
					require.Equal(t, fsm.Allowed, fsm.Decide(fsm.Subject{State: w.Instance.State}, vm.Delete, fsm.Auto).Kind)
				},
			})
		})
	}
}

// deleting is an instance that runs on h1 and has left something half-made on h2. When the delete preempts, the task
// before it hangs in a call of h1's hypervisor.
func deleting(preempts vm.TaskID) *tasks.Work {
	s := newSite("h1", "h2", "h3")
	s.place("h1", vm.PowerRunning)
	s.hosts["h2"].machine = &machine{power: vm.PowerNoState}
	s.hosts["h1"].hung = preempts != ""
	for _, h := range s.hosts {
		h.fence = 9
	}
	w := s.admit(vm.Delete, vm.Instance{State: vm.Active, Host: "h1", Footprint: []vm.HostName{"h1", "h2"}}, "")
	s.task.Cancels, w.Task.Cancels = preempts, preempts
	return w
}

// gone requires that nothing is left anywhere, and that no late command brings it back where something was (P2, P6).
func gone(t *testing.T, w *tasks.Work) {
	t.Helper()
	require.True(t, w.Gone)
	require.Equal(t, vm.Deleted, w.Instance.State)
	require.Empty(t, w.Instance.Footprint)
	for name, h := range worldOf(w).hosts {
		require.Nil(t, h.machine, "%s", name)
		require.Equal(t, name != "h3", h.tombstone, "%s", name)
	}
}
