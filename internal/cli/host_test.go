package cli_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

// answers is a person at a terminal who answers with text.
func (s *shell) answers(text string) {
	s.in = strings.NewReader(text)
	s.raw = func() (func(), error) { return func() {}, nil }
}

func TestAHostIsDeletedWhenItsNameWasTypedAgain(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	for _, typed := range []string{"h1\n", "yes\n", "\n", ""} {
		sh.answers(typed)
		got := sh.run(t.Context(), "host delete h2")
		require.Equal(t, exit.Usage, got.code, typed)
		require.Contains(t, got.err, "This cannot be undone. To delete host, type its name again: ")
	}
	require.Empty(t, cluster.Calls("DeleteHost"))
	sh.answers("h2\n")
	got := sh.run(t.Context(), "host delete h2")
	require.Zero(t, got.code, got.err)
	require.Equal(t, "deleted host h2\n", got.out)
	require.NotContains(t, sh.run(t.Context(), "host list").out, "h2")
}

func TestAScriptDeletesAHostWithoutBeingAsked(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		sh := at(clitest.New().Start(t))
		if terminal {
			sh.answers("")
		}
		require.Equal(t, result{out: "{}\n"}, sh.run(t.Context(), "host delete h2 --yes -o json"))
	}
	require.Equal(t, result{out: "deleted host h2\n"}, at(clitest.New().Start(t)).run(t.Context(), "host delete h2"))
}

func TestCtrlCAtTheQuestionDeletesNothing(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.answers("")
	typed, person := io.Pipe()
	t.Cleanup(func() { _ = person.Close() })
	sh.in = typed
	ctx, interrupt := context.WithCancel(t.Context())
	var out, err buffer
	done := make(chan exit.Code, 1)
	go func() { done <- sh.into(ctx, "host delete h2", &out, &err) }()
	require.Eventually(t, func() bool { return strings.Contains(err.String(), "again: ") }, clitest.Patience, redrawn)
	interrupt()
	require.Equal(t, exit.Interrupted, <-done)
	require.Empty(t, cluster.Calls("DeleteHost"))
}

func TestAHostIsConfirmedFencedWithAReason(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	var out, err buffer
	code := sh.words(t.Context(), []string{"host", "confirm-fenced", "h2", "--reason", "unplugged, ticket 4711"}, &out, &err)
	require.Zero(t, code, err.String())
	require.Contains(t, out.String(), "fenced:     unplugged, ticket 4711; signed by ann 2026-01-02T03:04:05Z (3m12s ago)\n")
	require.Contains(t, sh.run(t.Context(), "host list").out, "h2    down (fenced)  enabled")

	got := sh.run(t.Context(), "host confirm-fenced h1 --reason x")
	require.Equal(t, exit.Refused, got.code)
	require.Contains(t, got.err, "cannot confirm the fencing of host h1: it is up\n  host: h1\n")
}

func TestHostsAreDisabledAndEnabled(t *testing.T) {
	sh := at(clitest.New().Start(t))
	require.Contains(t, sh.run(t.Context(), "host disable h1").out, "admin:      disabled\n")
	require.Contains(t, sh.run(t.Context(), "host enable h1").out, "admin:      enabled\n")
}
