package workflowtest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/workflow"
	"leasehold/workflow/workflowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a small world: hosts with disks and a machine that runs on at most one, and a decision that is durable only
// once it was recorded.
type site struct {
	disks    map[string]int // by host
	running  string         // host
	announce int
	host     string // decided, in memory
	saved    string // decided, durable
	rack     string // decided, and forgotten by save
}

func newSite(*testing.T) *site { return &site{disks: map[string]int{}} }

func (s *site) save() { s.saved = s.host }

// successor keeps what is outside and what is durable, and forgets the rest.
func (s *site) successor(*testing.T) *site {
	next := *s
	next.host, next.rack = s.saved, ""
	return &next
}

type (
	beat  = workflow.Beat
	steps = []workflow.Step[*site]
)

// build is a flow with one of everything.
func build() workflow.Flow[*site] {
	return workflow.Flow[*site]{Name: "build", Steps: steps{
		{
			Name: "place", Resume: workflow.Redo, Pure: true,
			Do:   func(_ context.Context, s *site, _ beat) error { s.host = "h1"; return nil },
			Undo: func(_ context.Context, s *site, _ beat) error { s.host = ""; return nil },
		},
		{
			Name: "disk", Resume: workflow.Redo, Tries: 2, Else: "place", Rounds: 2,
			Do:   func(_ context.Context, s *site, _ beat) error { s.disks[s.host] = 1; return nil },
			Undo: func(_ context.Context, s *site, _ beat) error { delete(s.disks, s.host); return nil },
		},
		{
			Name: "start", Resume: workflow.Probe, NoReturn: true,
			Do: func(_ context.Context, s *site, _ beat) error {
				if s.disks[s.host] == 0 {
					return errors.New("cannot start: no disk")
				}
				s.running = s.host
				return nil
			},
			Undo: func(_ context.Context, s *site, _ beat) error { s.running = ""; return nil },
			Probe: func(_ context.Context, s *site) (workflow.Verdict, error) {
				if s.running == s.host {
					return workflow.Done, nil
				}
				return workflow.NotDone, nil
			},
		},
		{
			Name: "announce", Resume: workflow.Undo,
			Do:   func(_ context.Context, s *site, _ beat) error { s.announce = 1; return nil },
			Undo: func(_ context.Context, s *site, _ beat) error { s.announce = 0; return nil },
		},
		{
			Name: "tidy", Resume: workflow.Fail,
			Do: func(context.Context, *site, beat) error { return nil },
		},
	}}
}

func check(t *testing.T, s *site, out workflow.Outcome) {
	t.Helper()
	switch {
	case out.Result == workflow.Succeeded:
		require.Equal(t, "h1", s.saved)
		require.Equal(t, map[string]int{"h1": 1}, s.disks)
		require.Equal(t, "h1", s.running)
		require.Equal(t, 1, s.announce)
	case out.Undone:
		require.Equal(t, &site{disks: map[string]int{}}, s)
	default: // failed behind the start: the machine runs, nobody was told
		require.Equal(t, "h1", s.running)
		require.Zero(t, s.announce)
	}
}

func TestRunAcceptsASoundFlow(t *testing.T) {
	workflowtest.Run(t, workflowtest.Case[*site]{
		Flow: build(), New: newSite, Check: check, Saved: (*site).save,
		Successor: func(t *testing.T, s *site) *site { return s.successor(t) },
	})
}

// faults are what authors of flows do wrong, each with the test that must find it.
var faults = map[string]struct {
	spoil func(s steps)
	found string // a test that fails
}{
	"undo forgotten": {func(s steps) { s[1].Undo = nil }, "fails/disk/do-late"},
	"undo is not idempotent": {func(s steps) {
		s[2].Undo = func(_ context.Context, s *site, _ beat) error {
			if s.running == "" {
				s.running = "nowhere"
				return nil
			}
			s.running = ""
			return nil
		}
	}, "twice/undo/start"},
	"undo needs a do that happened": {func(s steps) {
		s[3].Undo = func(_ context.Context, s *site, _ beat) error { s.announce--; return nil }
	}, "fails/announce/do-error"},
	"do is not idempotent": {func(s steps) {
		s[1].Do = func(_ context.Context, s *site, _ beat) error { s.disks[s.host]++; return nil }
	}, "twice/do"},
	"probe believes too much": {func(s steps) {
		s[2].Probe = func(context.Context, *site) (workflow.Verdict, error) { return workflow.Done, nil }
	}, "crashes/after_record_2"},
	"decision kept in memory": {func(s steps) {
		s[0].Do = func(_ context.Context, s *site, _ beat) error { s.host, s.rack = "h1", "r1"; return nil }
		s[0].Undo = func(_ context.Context, s *site, _ beat) error { s.host, s.rack = "", ""; return nil }
		s[1].Do = func(_ context.Context, s *site, _ beat) error {
			if s.rack == "" {
				return errors.New("cannot make disk: no rack")
			}
			s.disks[s.host] = 1
			return nil
		}
	}, "crashes/after_each_record"},
	"undo forgets a part": {func(s steps) {
		do := s[1].Do
		s[1].Do = func(ctx context.Context, s *site, b beat) error { s.disks["h2"] = 0; return do(ctx, s, b) }
	}, "cancelled/after/disk"},
}

// TestBrokenFlow is run by TestRunFindsBrokenFlows, in a process of its own because it is to fail.
func TestBrokenFlow(t *testing.T) {
	fault, ok := faults[os.Getenv("WORKFLOWTEST_FAULT")]
	if !ok {
		return
	}
	flow := build()
	fault.spoil(flow.Steps)
	workflowtest.Run(t, workflowtest.Case[*site]{
		Flow: flow, New: newSite, Check: check, Saved: (*site).save,
		Successor: func(t *testing.T, s *site) *site { return s.successor(t) },
	})
}

func TestRunFindsBrokenFlows(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for name := range maps.Keys(faults) {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestBrokenFlow$")
			cmd.Env = append(os.Environ(), "WORKFLOWTEST_FAULT="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "nothing was found")
			var failed []string
			for line := range strings.Lines(string(out)) {
				if words := strings.Fields(line); len(words) > 2 && words[1] == "FAIL:" {
					failed = append(failed, words[2])
				}
			}
			require.Contains(t, failed, "TestBrokenFlow/"+faults[name].found)
		})
	}
}

func TestRecorderRefusesWhatNoEngineMayWrite(t *testing.T) {
	doing, done := workflow.StepDoing, workflow.StepDone
	durable := workflow.Log{{Step: "a", Status: done}, {Step: "b", Status: doing}}
	for name, c := range map[string]struct {
		log  workflow.Log
		want string
	}{
		"same":      {durable, ""},
		"next":      {workflow.Log{durable[0], {Step: "b", Status: done}, {Step: "c", Status: doing}}, ""},
		"two steps": {append(durable, durable...), "entries"},
		"shorter":   {durable[:1], "entries"},
		"no intent": {workflow.Log{durable[0], {Step: "b", Status: done}}, "entry 1"},
		"rewritten": {workflow.Log{{Step: "z", Status: done}, durable[1]}, "settled"},
		"two open":  {workflow.Log{durable[0], durable[1], {Step: "c", Status: doing}}, "entry 1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := workflowtest.NewRecorder(durable).Record(t.Context(), c.log)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, workflowtest.NewRecorder(durable).Record(ended, durable), context.Canceled)
}

func TestRecorderCrashesOnEitherSideOfACommit(t *testing.T) {
	before := workflow.Log{{Step: "a", Status: workflow.StepDoing}}
	after := workflow.Log{{Step: "a", Status: workflow.StepDone}, {Step: "b", Status: workflow.StepDoing}}
	for m, want := range map[workflowtest.Moment]workflow.Log{
		workflowtest.BeforeCommit: before, workflowtest.AfterCommit: after,
	} {
		rec := workflowtest.NewRecorder(before).CrashAt(1, m)
		require.ErrorIs(t, rec.Record(t.Context(), after), workflowtest.ErrCrashed)
		require.ErrorIs(t, rec.Record(t.Context(), after), workflowtest.ErrCrashed, "dead is dead")
		require.Equal(t, want, rec.Log())
	}
}

func TestScriptStrikesAsOftenAsItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trace workflowtest.Trace
		flow := workflowtest.Traced(workflowtest.Script(t, build(), "disk:do-retry#1 start:do-error"), &trace)
		log := workflow.Begin(flow, time.Now())
		e := workflow.Engine[*site]{Flow: flow, Recorder: workflowtest.NewRecorder(log)}
		_, err := e.Run(t.Context(), newSite(t), log)
		require.NoError(t, err)
		require.Equal(t, strings.Join([]string{
			"place:do", "disk:do", "disk:do-error", "disk:do", "start:do", "start:do-error",
			"start:undo", "disk:undo", "place:undo",
		}, " "), trace.String())
	})
}
