package tasks_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
	"leasehold/workflow/workflowtest"
)

// withParams is onHost with durable parameters.
func withParams(verb vm.Verb, power vm.PowerState, params string) *tasks.Work {
	w := onHost(verb, power)
	worldOf(w).task.Params = []byte(params)
	w.Task.Params = []byte(params)
	return w
}

func TestRescueFlow(t *testing.T) {
	kind := tasks.All()[vm.Rescue]
	workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
		Flow: kind.Flow, Saved: save, Successor: takeOver,
		New: func(*testing.T) *tasks.Work { return withParams(vm.Rescue, vm.PowerRunning, `{"image":"image"}`) },
		Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
			t.Helper()
			settle(t, kind, w, out)
			m := worldOf(w).hosts["h1"].machine
			if m.rescue == "" {
				require.Nil(t, w.Instance.Rescue)
				require.Equal(t, vm.Active, w.Instance.State)
				return
			}
			require.Equal(t, vm.Rescued, w.Instance.State, "it runs from the rescue disk, whatever became of the task")
			require.Equal(t, vm.ImageID("image"), w.Instance.Rescue.Image)
			require.False(t, w.Instance.Rescue.Since.IsZero())
		},
	})
}

func TestUnrescueFlow(t *testing.T) {
	kind := tasks.All()[vm.Unrescue]
	workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
		Flow: kind.Flow, Saved: save, Successor: takeOver,
		New: func(*testing.T) *tasks.Work { return rescued(vm.Unrescue, vm.PowerRunning, vm.Rescued) },
		Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
			t.Helper()
			settle(t, kind, w, out)
			own := worldOf(w).hosts["h1"].machine.rescue == ""
			require.Equal(t, own, w.Instance.Rescue == nil)
			require.Equal(t, own, w.Instance.State == vm.Active)
			if out.Result == workflow.Succeeded {
				require.True(t, own)
			}
		},
	})
}

// rescued is an instance that keeps a rescue.
func rescued(verb vm.Verb, power vm.PowerState, state vm.State) *tasks.Work {
	s := newSite("h1", "h2")
	s.place("h1", power)
	s.hosts["h1"].machine.rescue = "image"
	return s.admit(verb, vm.Instance{
		State: state, Host: "h1", Footprint: []vm.HostName{"h1"}, Rescue: &vm.RescueDisk{Image: "image", Since: time.Now()},
	}, "")
}

// What is entered from rescued returns to it.
func TestARescuedInstanceComesBackRescued(t *testing.T) {
	for _, c := range []struct {
		verb     vm.Verb
		power    vm.PowerState
		from, to vm.State
	}{
		{vm.Stop, vm.PowerRunning, vm.Rescued, vm.Stopped},
		{vm.Start, vm.PowerShutdown, vm.Stopped, vm.Rescued},
		{vm.Pause, vm.PowerRunning, vm.Rescued, vm.Paused},
		{vm.Unpause, vm.PowerPaused, vm.Paused, vm.Rescued},
		{vm.Suspend, vm.PowerRunning, vm.Rescued, vm.Suspended},
		{vm.Resume, vm.PowerSuspended, vm.Suspended, vm.Rescued},
		{vm.Reboot, vm.PowerRunning, vm.Rescued, vm.Rescued},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := rescued(c.verb, c.power, c.from)
			require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
			require.Equal(t, c.to, w.Instance.State, "%s", c.verb)
			require.NotNil(t, w.Instance.Rescue)
		})
	}
}

func TestRebuildFlow(t *testing.T) {
	for from, to := range map[vm.PowerState]vm.State{vm.PowerRunning: vm.Active, vm.PowerShutdown: vm.Stopped} {
		t.Run(string(from), func(t *testing.T) {
			kind := tasks.All()[vm.Rebuild]
			workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
				Flow: kind.Flow, Saved: save, Successor: func(t *testing.T, dead *tasks.Work) *tasks.Work {
					t.Helper()
					w := takeOver(t, dead)
					w.Image.ID = "new"
					return w
				},
				New: func(*testing.T) *tasks.Work { return rebuilding(from) },
				Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
					t.Helper()
					settle(t, kind, w, out)
					m := worldOf(w).hosts["h1"].machine
					if w.Instance.State != vm.Error {
						require.Equal(t, at[m.power], w.Instance.State)
					} else {
						require.Equal(t, []vm.Verb{vm.Rebuild}, w.Instance.Error.Allowed, "the disk can be made any number of times")
					}
					if out.Result == workflow.Succeeded {
						require.Equal(t, "new", m.disk)
						require.Equal(t, vm.ImageID("new"), w.Instance.Image)
						require.Equal(t, to, w.Instance.State)
					}
				},
			})
		})
	}
}

// rebuilding is an instance that gets a disk of another image.
func rebuilding(from vm.PowerState) *tasks.Work {
	w := withParams(vm.Rebuild, from, `{"image":"new"}`)
	w.Image.ID = "new"
	return w
}

func TestARebuildOfAnImageThatIsGoneLeavesTheInstanceAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := rebuilding(vm.PowerRunning)
		w.Image = nil
		out := finish(t, w, nil, nil)
		require.Equal(t, workflow.Failed, out.Result)
		require.ErrorContains(t, out.Err, "image new was deleted meanwhile")
		require.Equal(t, vm.Active, w.Instance.State)
		require.Equal(t, "image", worldOf(w).hosts["h1"].machine.disk)
	})
}

func TestSnapshotFlow(t *testing.T) {
	for _, from := range []vm.PowerState{vm.PowerRunning, vm.PowerPaused, vm.PowerShutdown} {
		t.Run(string(from), func(t *testing.T) {
			kind := tasks.All()[vm.Snapshot]
			workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
				Flow: kind.Flow, Saved: save, Successor: func(t *testing.T, dead *tasks.Work) *tasks.Work {
					t.Helper()
					w := takeOver(t, dead)
					w.Saves = saving()
					return w
				},
				New: func(*testing.T) *tasks.Work {
					w := withParams(vm.Snapshot, from, `{"image":"snap"}`)
					w.Saves = saving()
					return w
				},
				Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
					t.Helper()
					settle(t, kind, w, out)
					require.Equal(t, at[from], w.Instance.State, "a snapshot changes nothing of the machine")
					h := worldOf(w).hosts["h1"]
					if out.Result != workflow.Succeeded {
						require.Empty(t, h.image, "P6: nothing half-made is left")
						return
					}
					require.Equal(t, "snap", h.image)
					require.Equal(t, vm.ImageActive, w.Saves.Status)
					require.Empty(t, w.Saves.Task)
					require.Equal(t, "host://h1/snap", w.Saves.URL)
					require.Equal(t, int64(7), w.Saves.SizeBytes)
					require.Equal(t, "digest", w.Saves.SHA256)
				},
			})
		})
	}
}

func saving() *vm.Image {
	return &vm.Image{ID: "snap", Name: "nightly", Status: vm.ImageSaving, Task: "t1"}
}

func TestSetPasswordFlow(t *testing.T) {
	kind := tasks.All()[vm.SetPassword]
	workflowtest.Run(t, workflowtest.Case[*tasks.Work]{
		Flow: kind.Flow, Saved: save, Successor: takeOver,
		New: func(*testing.T) *tasks.Work {
			return withParams(vm.SetPassword, vm.PowerRunning, `{"user":"root","sealed":"c2VhbGVk"}`)
		},
		Check: func(t *testing.T, w *tasks.Work, out workflow.Outcome) {
			t.Helper()
			settle(t, kind, w, out)
			require.Equal(t, vm.Active, w.Instance.State, "a failure changes nothing that outlives it")
			require.Empty(t, w.Task.Params, "the history keeps nothing of the secret")
			if out.Result == workflow.Succeeded {
				require.Equal(t, "sealed", worldOf(w).hosts["h1"].machine.password)
			}
		},
	})
}

// P6: what an operator has taken out is waited for by nobody, and an instance that was there says what became of it.
func TestAHostThatWasRemovedEndsWhatWaitsForIt(t *testing.T) {
	for _, verb := range []vm.Verb{vm.Stop, vm.Suspend, vm.Unrescue, vm.Rebuild, vm.Snapshot, vm.SetPassword} {
		t.Run(string(verb), bubble(func(t *testing.T) {
			t.Helper()
			w := withParams(verb, vm.PowerRunning, `{"image":"image"}`)
			h := worldOf(w).hosts["h1"]
			h.down, h.fails[failing(verb)] = tasks.Removed, always
			kind := tasks.All()[verb]
			out, err := drive(t.Context(), w, nil, nil)
			require.NoError(t, err)
			w.Instance.TaskState = kind.State("", out.Log[len(out.Log)-1].Step)
			h.machine = nil
			settle(t, kind, w, out)
			require.Equal(t, workflow.Failed, out.Result)
			require.Equal(t, vm.Error, w.Instance.State)
			require.Equal(t, vm.ReasonHostDown, w.Instance.Error.Reason)
			require.Contains(t, w.Instance.Error.Message, "host h1 was removed for good")
			require.Empty(t, w.Instance.Host)
			require.Empty(t, w.Instance.Footprint)
		}))
	}
}

// failing is the step in which a verb fails here: its first.
func failing(verb vm.Verb) string {
	return tasks.All()[verb].Flow.Steps[0].Name
}

// P4: a create whose host is taken out while it spawns goes to another host; it undoes nothing where nobody is.
func TestACreateGoesOnElsewhereWhenItsHostIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := building("h1", "h2")
		w.Task.Params = []byte(`{}`)
		first := ""
		for name, h := range worldOf(w).hosts {
			h.spawning = func() bool { // the first that is asked is removed meanwhile; what is asked of it later fails
				if first == "" {
					first, h.down, h.machine = string(name), tasks.Removed, nil
				}
				return string(name) != first
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		out, err := drive(ctx, w, nil, nil)
		require.NoError(t, err, "it never ends: %v", worldOf(w).acts)
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
		require.NotEqual(t, first, string(w.Instance.Host))
		settle(t, tasks.All()[vm.Create], w, out)
	})
}

func TestADeleteForgetsWhatWasOnARemovedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		worldOf(w).hosts["h1"].down = tasks.Removed
		worldOf(w).hosts["h1"].machine = nil
		out := finish(t, w, nil, nil)
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
		require.Equal(t, []string{"teardown h2"}, worldOf(w).acts, "nobody is asked that is no more")
		require.True(t, w.Gone)
	})
}

// A delete that has to wait for one host is done on the others first.
func TestADeleteAsksTheHostsThatAreUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		worldOf(w).hosts["h1"].down = tasks.Down
		require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
		require.Equal(t, []string{"teardown h2", "teardown h1"}, worldOf(w).acts)
	})
}

// While it waits, people see it deleted: the record says where the rest may be, and the name is free, once.
func TestADeleteThatWaitsHidesTheInstance(t *testing.T) {
	w := deleting("")
	for range 2 {
		w.Hide("h1")
	}
	require.Equal(t, vm.Deleted, w.Instance.State)
	require.Equal(t, []vm.HostName{"h1"}, w.Instance.Remains)
	require.True(t, w.Unname)
	w.Unname = false
	hidden := *w.Instance.HiddenAt
	w.Hide("h2")
	require.False(t, w.Unname, "the name may be somebody else's by now")
	require.Equal(t, hidden, *w.Instance.HiddenAt)
	require.Equal(t, "[h1 h2]", fmt.Sprint(w.Instance.Remains))
	require.Equal(t, vm.HostName("h1"), w.Instance.Host, "its room there is taken until it is proven clean")
}

// A delete removes what the snapshot that it preempted has half made.
func TestADeleteDropsTheImagesOfWhatItPreempted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deleting("")
		w.Task.Params, worldOf(w).task.Params = []byte(`{"images":["snap"]}`), []byte(`{"images":["snap"]}`)
		worldOf(w).hosts["h1"].image = "snap"
		require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
		require.Empty(t, worldOf(w).hosts["h1"].image)
	})
}
