package workflow_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/workflow"
)

// logOf reads "place done, disk failed".
func logOf(text string) workflow.Log {
	var log workflow.Log
	for entry := range strings.SplitSeq(text, ", ") {
		if step, status, ok := strings.Cut(entry, " "); ok {
			log = append(log, workflow.Entry{Step: step, Status: workflow.Status(status), Error: "why " + step})
		}
	}
	return log
}

func TestNextDecides(t *testing.T) {
	const round = "place done, disk failed, disk undone, place undone, "
	for _, c := range []struct {
		log       string
		next      string
		cancelled string // what it is instead when cancelled; "" is the same
	}{
		{"", "do place", "finish cancelled"},
		{"place doing", "do place again", "undo place"},
		{"place undoing", "undo place again", ""},
		{"place undone", "finish cancelled", ""},
		{"place done", "do disk", "undo place"},
		{"place done, disk doing", "do disk again", "undo disk"},
		{"place done, disk failed", "undo disk", ""},
		{"place done, disk failed, disk undoing", "undo disk again", ""},
		{"place done, disk failed, disk undone", "undo place", ""},
		{round, "do place", "finish cancelled"},
		{round + "place doing", "do place again", "undo place"},
		{round + "place undone", "finish cancelled", ""},
		{round + "place failed", "undo place", ""},
		{round + "place failed, place undone", "finish failed", ""},
		{round + round, "do place", "finish cancelled"},
		{round + round + "place done, disk failed", "undo disk", ""},
		{round + round + "place done, disk failed, disk undone, place undone", "finish failed", ""},
		{"place done, disk done, net doing", "do net again", "undo net"},
		{"place done, disk done, net undone", "undo disk", ""},
		{"place done, disk done, net failed", "undo disk", ""},
		{"place done, disk done, net failed, disk undone, place undone", "finish failed", ""},
		{"place done, disk done, net done", "do switch", "undo disk"},
		{"place done, disk done, net done, disk undone, place undone", "finish cancelled", ""},
		{"place done, disk done, net done, switch doing", "do switch again", ""},
		{"place done, disk done, net done, switch failed", "undo switch", ""},
		{"place done, disk done, net done, switch failed, switch undone", "undo disk", ""},
		{"place done, disk done, net done, switch done", "do clean", ""},
		{"place done, disk done, net done, switch done, clean doing", "do clean again", ""},
		{"place done, disk done, net done, switch done, clean failed", "undo clean", ""},
		{"place done, disk done, net done, switch done, clean failed, clean undone", "finish failed", ""},
		{"place done, disk done, net done, switch done, clean done", "finish succeeded", ""},
	} {
		t.Run(c.log, func(t *testing.T) {
			log := logOf(strings.TrimSuffix(c.log, ", "))
			require.Equal(t, c.next, workflow.Next(create(), log, false).String())
			if c.cancelled == "" {
				c.cancelled = c.next
			}
			require.Equal(t, c.cancelled, workflow.Next(create(), log, true).String())
		})
	}
}

func TestNextNamesTheCause(t *testing.T) {
	d := workflow.Next(create(), logOf("place done, disk done, net failed, disk undone, place undone"), false)
	failure, ok := errors.AsType[*workflow.StepError](d.Err)
	require.True(t, ok)
	require.Equal(t, "net", failure.Step)
	require.EqualError(t, failure, `cannot do step "net": why net`)
	require.True(t, d.Undone)

	d = workflow.Next(create(), logOf("place done, disk done, net done, switch done, clean failed, clean undone"), false)
	require.False(t, d.Undone, "what is behind the point of no return stays")
}

func TestNextFailsLogsOfAnotherFlowWithAReason(t *testing.T) {
	for why, logs := range map[string][]string{
		"no such step": {
			"rack doing",
		},
		"out of order": {
			"place done, place done",
			"place done, net doing",
			"disk doing",
			"place done, disk failed, net doing",
			"place done, disk failed, place undone",
			"place done, disk failed, disk doing",
			"place done, disk undone, disk undone",
			"place done, disk done, net done, net done",
			"place done, disk done, net done, switch undone",
			"place done, disk done, net done, switch done, switch undone",
			"place done, disk done, net done, switch done, clean undone",
			"place done, disk done, net done, switch done, clean done, clean undoing",
			"place done, disk done, net done, switch done, clean failed, switch undone",
		},
		"only the last entry can be open": {
			"place doing, disk doing",
			"place undoing, place undone",
		},
		"unknown status": {
			"place ready",
		},
	} {
		for _, log := range logs {
			t.Run(log, func(t *testing.T) {
				d := workflow.Next(create(), logOf(log), false)
				require.Equal(t, "finish failed", d.String())
				require.ErrorIs(t, d.Err, workflow.ErrBadLog)
				require.ErrorContains(t, d.Err, why)
				require.False(t, d.Undone)
				require.True(t, workflow.TooLate(create(), logOf(log)))
			})
		}
	}
	d := workflow.Next(workflow.Flow[world]{}, nil, false)
	require.ErrorIs(t, d.Err, workflow.ErrBadLog)
}

func TestTooLateFromTheIntentOfTheStepWithoutReturn(t *testing.T) {
	for log, want := range map[string]bool{
		"":                                 false,
		"place done, disk done, net doing": false,
		"place done, disk done, net done":  false,
		"place done, disk done, net done, switch doing":  true,
		"place done, disk done, net done, switch failed": false,
		"place done, disk done, net done, switch done":   true,
	} {
		require.Equal(t, want, workflow.TooLate(create(), logOf(log)), log)
	}
	require.True(t, workflow.TooLate(flowOf([]string{"a"}, nil), logOf("a done")), "all is done")
}

func TestNextIsTotal(t *testing.T) {
	steps := []string{"place", "disk", "net", "switch", "clean", "rack", ""}
	states := []workflow.Status{
		workflow.StepDoing, workflow.StepDone, workflow.StepFailed, workflow.StepUndoing, workflow.StepUndone, "", "odd",
	}
	flow := create()
	seen := 0
	var all func(log workflow.Log, depth int)
	all = func(log workflow.Log, depth int) {
		seen++
		requireDecision(t, flow, log)
		if depth == 0 {
			return
		}
		for _, step := range steps {
			for _, status := range states {
				all(append(slices.Clip(log), workflow.Entry{Step: step, Status: status}), depth-1)
			}
		}
	}
	all(nil, 3)
	require.Equal(t, 1+49+49*49+49*49*49, seen)
}

// requireDecision asks that log has a decision which can be followed.
func requireDecision(t *testing.T, flow workflow.Flow[world], log workflow.Log) {
	t.Helper()
	for _, cancelled := range []bool{false, true} {
		d := workflow.Next(flow, log, cancelled)
		known := false
		for _, s := range flow.Steps {
			known = known || s.Name == d.Step
		}
		ok := false
		switch d.Act {
		case workflow.ActDo, workflow.ActUndo:
			ok = known && d.Err == nil && d.Result == "" && (!d.Begun || log[len(log)-1].Step == d.Step)
		case workflow.ActFinish:
			ok = d.Step == "" && (d.Result == workflow.Succeeded) == (d.Err == nil)
		}
		if !ok { // require on each of a million logs is slow
			require.Fail(t, "cannot follow", "%v: %+v", log, d)
		}
	}
	workflow.TooLate(flow, log)
}

// TestEveryLogThatCanBeWrittenEnds follows every way that outcomes and cancels can turn, and asks for I3, I4 and I5.
func TestEveryLogThatCanBeWrittenEnds(t *testing.T) {
	again := flowOf([]string{"a", "b", "c", "d"}, func(s map[string]*workflow.Step[world]) {
		s["c"].Else, s["c"].Rounds = "b", 1
		s["d"].Else, s["d"].Rounds = "c", 1
	})
	for name, flow := range map[string]workflow.Flow[world]{"create": create(), "again": again} {
		t.Run(name, func(t *testing.T) {
			ends := map[workflow.Result]int{}
			explore(t, flow, nil, 2, ends)
			for _, r := range []workflow.Result{workflow.Succeeded, workflow.Failed, workflow.Cancelled} {
				require.Positive(t, ends[r], r)
			}
		})
	}
}

// explore counts the ends that log can come to. Before each turn, at most flips times, the cancel may come or go: it goes
// when a successor does not see it.
func explore(t *testing.T, flow workflow.Flow[world], log workflow.Log, flips int, ends map[workflow.Result]int) {
	t.Helper()
	if len(log) > 40 {
		require.Fail(t, "a log without end", "%v", log)
	}
	for _, cancelled := range []bool{false, true} {
		left := flips
		if cancelled != (flips == 1) {
			left--
		}
		if left < 0 {
			continue
		}
		d := workflow.Next(flow, log, cancelled)
		switch d.Act {
		case workflow.ActFinish:
			requireSoundEnd(t, flow, log, d)
			ends[d.Result]++
		case workflow.ActDo:
			requireStanding(t, flow, log, d)
			explore(t, flow, with(log, d, workflow.StepDone), left, ends)
			explore(t, flow, with(log, d, workflow.StepFailed), left, ends)
			if doing := with(log, d, workflow.StepDoing); !d.Begun && left == 2 && !workflow.TooLate(flow, doing) {
				explore(t, flow, doing, left, ends)
			}
		case workflow.ActUndo:
			explore(t, flow, with(log, d, workflow.StepUndone), left, ends)
		}
	}
}

// requireSoundEnd asks that a log of the engine's own is never bad, and that what is called undone is.
func requireSoundEnd(t *testing.T, flow workflow.Flow[world], log workflow.Log, d workflow.Decision) {
	t.Helper()
	if errors.Is(d.Err, workflow.ErrBadLog) || d.Undone && len(remains(flow, log)) > 0 {
		require.Fail(t, "no sound end", "%+v of %v", d, log)
	}
}

// requireStanding asks that a step is done only on what the steps before it have made.
func requireStanding(t *testing.T, flow workflow.Flow[world], log workflow.Log, d workflow.Decision) {
	t.Helper()
	standing := remains(flow, log)
	for _, s := range flow.Steps {
		if s.Name == d.Step {
			return
		}
		if s.Undo != nil && !standing[s.Name] {
			require.Fail(t, "stands on nothing", "%s of %v: %s is undone", d, log, s.Name)
		}
	}
}

// with is log after d came to status.
func with(log workflow.Log, d workflow.Decision, status workflow.Status) workflow.Log {
	log = slices.Clip(log)
	if n := len(log); n > 0 && (log[n-1].Status == workflow.StepDoing || log[n-1].Status == workflow.StepUndoing) {
		log = log[: n-1 : n-1]
	}
	return append(log, workflow.Entry{Step: d.Step, Status: status})
}

// remains is what was begun, has an Undo, and was not undone.
func remains(flow workflow.Flow[world], log workflow.Log) map[string]bool {
	begun := map[string]bool{}
	for _, e := range log {
		if e.Status == workflow.StepUndone {
			delete(begun, e.Step)
		} else {
			begun[e.Step] = true
		}
	}
	for _, s := range flow.Steps {
		if s.Undo == nil {
			delete(begun, s.Name)
		}
	}
	return begun
}

func FuzzNext(f *testing.F) {
	f.Add([]byte{5, 0, 0, 0, 0, 0}, []byte{0, 1, 1, 2})
	f.Add([]byte{3, 1, 0x40, 2}, []byte{0, 1, 1, 1, 2, 2})
	f.Fuzz(func(t *testing.T, shape, entries []byte) {
		flow := shaped(shape)
		statuses := []workflow.Status{"doing", "done", "failed", "undoing", "undone", "odd"}
		var log workflow.Log
		for i := 0; i+1 < len(entries) && i < 80; i += 2 {
			step := string(rune('a' + entries[i]%7))
			log = append(log, workflow.Entry{Step: step, Status: statuses[int(entries[i+1])%len(statuses)]})
		}
		requireDecision(t, flow, log)

		// What the engine would write from Begin, the entries deciding each outcome, is never a bad log and ends.
		if flow.Validate() != nil {
			return
		}
		log = workflow.Begin(flow, time.Time{})
		for i := 0; ; i++ {
			fate := byte(0)
			if i < len(entries) {
				fate = entries[i]
			}
			d := workflow.Next(flow, log, fate&4 != 0)
			if d.Act == workflow.ActFinish {
				requireSoundEnd(t, flow, log, d)
				return
			}
			status := workflow.StepUndone
			if d.Act == workflow.ActDo {
				status = []workflow.Status{workflow.StepDone, workflow.StepFailed, workflow.StepDoing, workflow.StepDone}[fate&3]
			}
			log = with(log, d, status)
			require.Less(t, i, len(entries)+200, "a log without end: %v", log)
		}
	})
}

// shaped makes a flow, valid or not, of up to six steps: one byte each.
func shaped(shape []byte) workflow.Flow[world] {
	names := []string{"a", "b", "c", "d", "e", "f"}
	names = names[:min(len(names), len(shape))]
	flow := flowOf(names, nil)
	for i := range flow.Steps {
		s, b := &flow.Steps[i], shape[i]
		s.NoReturn, s.Pure = b&1 != 0, b&2 != 0
		if b&4 != 0 {
			s.Undo = nil
		}
		if back := int(b >> 4 & 7); back > 0 {
			s.Rounds = 1 + int(b>>3&1)
			s.Else = names[max(0, i-back)]
		}
	}
	return flow
}
