package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

// happened is an event of web-0, or of a host.
func happened(kind, message string) *conductorv1.Event {
	e := &conductorv1.Event{Kind: kind, Id: message, Change: "put", Message: message}
	if kind != "host" {
		e.Instance = web0
	}
	return e
}

// reader reads what a command prints while it runs.
type reader struct {
	t        *testing.T
	out, err buffer
	done     chan exit.Code
}

func (s *shell) read(ctx context.Context, t *testing.T, line string) *reader {
	t.Helper()
	r := &reader{t: t, done: make(chan exit.Code, 1)}
	go func() { r.done <- s.into(ctx, line, &r.out, &r.err) }()
	return r
}

func (r *reader) sees(text string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return strings.Contains(r.out.String(), text) }, clitest.Patience, redrawn)
}

func TestEventsArePrintedAsTheyHappenUntilCtrlC(t *testing.T) {
	cluster := clitest.New()
	ctx, interrupt := context.WithCancel(t.Context())
	r := at(cluster.Start(t)).read(ctx, t, "instance events web-0 --follow")
	cluster.Await(t, "Events", 1)
	cluster.Happen(happened("host", "h1 is disabled"), happened("instance", "web-0 is stopped"))
	r.sees("2026-01-02T03:04:05Z  web-0 is stopped\n")
	cluster.Happen(happened("instance", "web-0 is active"))
	r.sees("web-0 is active\n")
	interrupt()
	require.Zero(t, <-r.done)
	require.NotContains(t, r.out.String(), "h1", "it is no event of web-0")
	require.Empty(t, r.err.String())
}

func TestWhatIsKnownIsPrintedFromARevisionOn(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	cluster.Happen(happened("instance", "web-0 is old"))
	from := cluster.Revision() + 1
	cluster.Happen(happened("instance", "web-0 is stopped"), happened("host", "h1 is disabled"))
	line := fmt.Sprintf(" --since %d", from)
	require.Equal(t, result{out: fmt.Sprintf("%-8d  2026-01-02T03:04:05Z  web-0 is stopped\n", from)},
		sh.run(t.Context(), "instance events web-0"+line))
	got := sh.run(t.Context(), "events -o json"+line)
	require.Equal(t, 2, strings.Count(got.out, "\n"), got.out)
	first, _, _ := strings.Cut(got.out, "\n")
	require.Equal(t, "web-0 is stopped", parse(t, first)["message"])
}

func TestEventsGoOnWithAnotherConductorWhereTheyWere(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	ctx, interrupt := context.WithCancel(t.Context())
	r := at(a, b).read(ctx, t, "events")
	cluster.Await(t, "Events", 1)
	cluster.Happen(happened("instance", "one"), happened("task", "two"))
	r.sees("two")
	a.Kill()
	cluster.Happen(happened("instance", "three"))
	r.sees("three")
	interrupt()
	require.Zero(t, <-r.done)
	for _, message := range []string{"one", "two", "three"} {
		require.Equal(t, 1, strings.Count(r.out.String(), message), "told once: %s", r.out.String())
	}
}

func TestEventsThatNobodyRemembersAreTooLate(t *testing.T) {
	cluster := clitest.New()
	cluster.Happen(happened("instance", "web-0 is old"))
	cluster.Forget()
	got := at(cluster.Start(t), cluster.Start(t)).run(t.Context(), "events --since 1")
	require.Equal(t, exit.Refused, got.code)
	require.Contains(t, got.err, "cannot send events from revision 1")
	require.Len(t, cluster.Calls("Events"), 2, "each conductor was asked")
}
