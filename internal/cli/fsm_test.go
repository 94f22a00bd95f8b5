package cli_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

func TestTheTablesAreShownOneByOneOrTogether(t *testing.T) {
	sh := at(clitest.New().Start(t))
	all := sh.run(t.Context(), "fsm show")
	require.Zero(t, all.code)
	for _, row := range []string{"asked", "it may have happened", "follow: stopped", "refuses everything older"} {
		require.Contains(t, all.out, row)
	}
	require.Equal(t, all, sh.run(t.Context(), "fsm"))
	require.Equal(t, exit.Usage, sh.run(t.Context(), "fsm verbs").code)
	require.Equal(t, result{out: "" +
		"STATE   SEEN      DOES             WHY\n" +
		"active  shutdown  follow: stopped  it powered itself off\n"}, sh.run(t.Context(), "fsm show power"))
	some := parse(t, sh.run(t.Context(), "fsm show actions restart -o json").out)
	require.Len(t, some["actions"], 1)
	require.Len(t, some["restart"], 1)
	require.Empty(t, some["recovery"])
}
