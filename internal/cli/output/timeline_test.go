package output_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/output"
)

func TestATimelineTellsATaskAsItWent(t *testing.T) {
	task := &conductorv1.Task{
		Id: "t1", Kind: "create", Status: "failed", CreatedAt: at(0), EndedAt: at(80 * time.Second),
		Attempts: []*conductorv1.Attempt{
			{Conductor: "c1", Since: at(0), Why: "admitted", Fence: "1.10"},
			{Conductor: "c2", Since: at(15 * time.Second), Why: "takeover", Fence: "1.14"},
		},
		Steps: []*conductorv1.Step{
			{Name: "place", Status: "done", Host: "h1", Try: 1, StartedAt: at(0), EndedAt: at(12 * time.Millisecond)},
			{
				Name: "spawn", Status: "failed", Host: "h1", Try: 3, Error: "cannot boot", StartedAt: at(12 * time.Millisecond),
				EndedAt: at(75 * time.Second),
			},
			{Name: "place", Status: "undone", Host: "h1", StartedAt: at(76 * time.Second), EndedAt: at(80 * time.Second)},
		},
	}
	show := func(p output.Printer) error { return p.Task(task) }
	require.Contains(t, printed(t, output.Table, show), "\ntimeline:\n"+
		"  AFTER    TOOK    WHAT          HOST  RESULT\n"+
		"  0.000s   -       conductor c1  -     admitted, fence 1.10\n"+
		"  0.000s   0.012s  place         h1    done\n"+
		"  0.012s   1m14s   spawn         h1    failed, try 3: cannot boot\n"+
		"  15.000s  -       conductor c2  -     takeover, fence 1.14\n"+
		"  1m16s    4.000s  place         h1    undone\n"+
		"  1m20s    -       end           -     failed\n")
	require.Contains(t, printed(t, output.Wide, show), "  2026-01-02T03:04:05.012Z  1m14s   spawn")
}

func TestATimelineSaysWhatIsTriedAgainAndWhy(t *testing.T) {
	task := &conductorv1.Task{Id: "t1", Status: "running", CreatedAt: at(0), Steps: []*conductorv1.Step{
		{Name: "spawn", Status: "doing", Host: "h1", Try: 2, Error: "cannot reach h1", StartedAt: at(190 * time.Second)},
	}}
	require.Contains(t, printed(t, output.Table, func(p output.Printer) error { return p.Task(task) }),
		"  3m10s  2.000s so far  spawn  h1    doing, try 2, after: cannot reach h1\n")
}

func TestAnEventIsALineThatBeginsWithItsRevision(t *testing.T) {
	event := &conductorv1.Event{
		Revision: 42, Kind: "task", Change: "put", At: at(0),
		Message: "task 01934f6e-0000-7000-8000-000000000001 (stop) is new: running",
	}
	show := func(p output.Printer) error { return p.Event(event) }
	require.Equal(t, "42        2026-01-02T03:04:05Z  task 01934f6e-0000 (stop) is new: running\n",
		printed(t, output.Table, show))
	require.Contains(t, printed(t, output.Wide, show),
		"  task      put     task 01934f6e-0000-7000-8000-000000000001 (stop)")
	require.Equal(t, byte('{'), printed(t, output.JSON, show)[0])
}

func TestAnEventIsWrappedBesideItsTime(t *testing.T) {
	var b bytes.Buffer
	p := output.Printer{Out: &b, Columns: 60}
	require.NoError(t, p.Event(&conductorv1.Event{Revision: 42, At: at(0), Message: "web-0 was active, pausing and is paused"}))
	require.Equal(t, ""+
		"42        2026-01-02T03:04:05Z  web-0 was active, pausing\n"+
		"                                and is paused\n", b.String())
}
