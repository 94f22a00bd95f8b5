package tasks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/scheduler"
	"leasehold/tasks"
	"leasehold/vm"
	"leasehold/workflow"
	"leasehold/workflow/workflowtest"
)

// recorder makes durable what a task decides, beside its log, and puts the records back when a compare was lost.
type recorder struct {
	*workflowtest.Recorder
	w *tasks.Work
}

func (r recorder) Record(ctx context.Context, log workflow.Log) error {
	err := r.Recorder.Record(ctx, log)
	if err != nil {
		s := worldOf(r.w).site
		*r.w.Task, *r.w.Instance = *s.task.Clone(), *s.inst.Clone()
		r.w.Promise, r.w.Free = "", nil
	}
	return err
}

// drive runs a task from log to its end. A nil log is one that was admitted just now, any other one that was taken over.
func drive(ctx context.Context, w *tasks.Work, log workflow.Log, cancelled <-chan struct{}) (workflow.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 24*time.Hour) // of a bubble: what never ends fails
	defer cancel()
	kind := tasks.All()[w.Task.Kind]
	fresh := log == nil
	if fresh {
		log = workflow.Begin(kind.Flow, time.Now())
	}
	return workflow.Engine[*tasks.Work]{
		Flow: kind.Flow, Fresh: fresh, Cancelled: cancelled,
		Recorder: recorder{workflowtest.NewRecorder(log).OnCommit(func() { save(w) }), w},
		Reason:   func(err error) string { return string(vm.ReasonOf(err)) },
	}.Run(ctx, w, log)
}

// finish is drive for a task that comes to its end, settled.
func finish(t *testing.T, w *tasks.Work, log workflow.Log, cancelled <-chan struct{}) workflow.Outcome {
	t.Helper()
	out, err := drive(t.Context(), w, log, cancelled)
	require.NoError(t, err)
	settle(t, tasks.All()[w.Task.Kind], w, out)
	return out
}

func bubble(f func(t *testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

const always = -1

func TestACreateGoesOnToAnotherHost(t *testing.T) {
	for good, name := range map[vm.HostName]string{"h1": "first", "h2": "second", "h3": "third"} {
		t.Run(name, bubble(func(t *testing.T) {
			t.Helper()
			w := building("h1", "h2", "h3")
			for name, h := range worldOf(w).hosts {
				if name != good {
					h.fails["spawn"] = always
				}
			}
			out := finish(t, w, nil, nil)
			require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
			require.Equal(t, good, w.Instance.Host)
			made(t, w)
			require.ElementsMatch(t, append([]vm.HostName{good}, failed(w)...), w.Task.Hosts, "each touched host is fenced by a takeover")
		}))
	}
}

func failed(w *tasks.Work) []vm.HostName {
	var hosts []vm.HostName
	for name := range w.Refused {
		hosts = append(hosts, name)
	}
	return hosts
}

func TestACreateGivesUpAfterThreeHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := building("h1", "h2", "h3", "h4")
		for _, h := range worldOf(w).hosts {
			h.fails["spawn"] = always
		}
		out := finish(t, w, nil, nil)
		require.Equal(t, workflow.Failed, out.Result)
		require.Len(t, w.Task.Hosts, 3, "the same host is not tried twice, and a fourth is not tried")
		unmade(t, w)
		require.Equal(t, vm.ReasonDriver, w.Instance.Error.Reason)
		require.Contains(t, w.Instance.Error.Message, "said no", "the hypervisor's own words")
	})
}

func TestACreateWithoutAnotherHostSaysWhatFailedBefore(t *testing.T) {
	for name, c := range map[string]struct{ params, says string }{
		"any host": {`{}`, "failed before"},
		"one host": {`{"host":"h1"}`, "failed before: the hypervisor of h1 said no"},
	} {
		t.Run(name, bubble(func(t *testing.T) {
			t.Helper()
			w := building("h1")
			w.Task.Params = []byte(c.params)
			worldOf(w).hosts["h1"].fails["spawn"] = always
			out := finish(t, w, nil, nil)
			require.Equal(t, workflow.Failed, out.Result)
			unmade(t, w)
			require.Equal(t, vm.ReasonCapacity, w.Instance.Error.Reason)
			require.Contains(t, w.Instance.Error.Message, c.says)
		}))
	}
}

func TestACreateForOneHostGoesNowhereElse(t *testing.T) {
	for _, want := range []vm.HostName{"h1", "h2", "h3"} {
		synctest.Test(t, func(t *testing.T) {
			w := building("h1", "h2", "h3")
			w.Task.Params = []byte(`{"host":"` + string(want) + `"}`)
			require.Equal(t, workflow.Succeeded, finish(t, w, nil, nil).Result)
			require.Equal(t, want, w.Instance.Host)
		})
	}
}

func TestParametersThatCannotBeReadFailTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := building("h1")
		w.Task.Params = []byte(`{"host":7}`)
		out := finish(t, w, nil, nil)
		require.Equal(t, workflow.Failed, out.Result)
		require.ErrorContains(t, out.Err, "internal error: cannot read the parameters of task t1")
		require.Empty(t, worldOf(w).acts)
		unmade(t, w)
	})
}

// The host that was chosen is full by the time the choice is written: what was decided is forgotten and decided anew.
func TestAPlacementThatLostItsCompareIsDecidedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := building("h1", "h2")
		kind := tasks.All()[vm.Create]
		log := workflow.Begin(kind.Flow, time.Now())
		first, err := scheduler.Place(scheduler.Request{Instance: "i1", Size: size}, w.Candidates())
		require.NoError(t, err)
		rec := workflowtest.NewRecorder(log).Stale(1).OnCommit(func() { save(w) })
		filled := fill{recorder{rec, w}, worldOf(w).hosts[first.Host]}
		out, err := workflow.Engine[*tasks.Work]{Flow: kind.Flow, Recorder: filled, Fresh: true}.Run(t.Context(), w, log)
		require.NoError(t, err)
		settle(t, kind, w, out)
		require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
		require.NotEqual(t, first.Host, w.Instance.Host)
		require.Equal(t, []vm.HostName{w.Instance.Host}, w.Task.Hosts, "the other host was never touched")
		made(t, w)
	})
}

// fill makes a host full before the first record.
type fill struct {
	recorder
	host *host
}

func (f fill) Record(ctx context.Context, log workflow.Log) error {
	if len(f.host.promised.Instances) == 0 {
		f.host.promised, _ = scheduler.Reserve(f.host.promised, "other", capacity, capacity)
	}
	return f.recorder.Record(ctx, log)
}

// P2: a successor that finds the step begun goes by what is there.
func TestASuccessorLooksBeforeItSpawnsAgain(t *testing.T) {
	for name, c := range map[string]struct {
		left  vm.PowerState // of the machine that the first conductor's command left; empty: it never arrived
		again bool
	}{
		"it runs":         {vm.PowerRunning, false},
		"it is half-made": {vm.PowerNoState, true},
		"it was not made": {"", true},
	} {
		t.Run(name, bubble(func(t *testing.T) {
			t.Helper()
			dead := building("h1")
			s := worldOf(dead).site
			dead.Task.Hosts, dead.Instance.Footprint = []vm.HostName{"h1"}, []vm.HostName{"h1"}
			dead.Instance.Host, dead.Promise = "h1", "h1"
			save(dead)
			if c.left != "" {
				s.hosts["h1"].machine = &machine{power: c.left}
			}
			began := time.Now()
			w := takeOver(t, dead)
			out := finish(t, w, workflow.Log{
				{Step: "place", Status: workflow.StepDone, StartedAt: began, EndedAt: began},
				{Step: "spawn", Status: workflow.StepDoing, StartedAt: began, Try: 1},
			}, nil)
			require.Equal(t, workflow.Succeeded, out.Result, "%v", out.Err)
			made(t, w)
			require.Equal(t, c.again, len(s.acts) > 0, "%v", s.acts)
		}))
	}
}
