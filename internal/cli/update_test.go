package cli_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

func TestUpdateSetsAndTakesAway(t *testing.T) {
	for _, flags := range []string{
		"--set owner=ann --unset tier", "--metadata owner=ann --metadata tier=", "--metadata owner=ann --unset tier",
	} {
		cluster := clitest.New()
		got := at(cluster.Start(t)).run(t.Context(), "instance update web-0 --name web-9 -o json "+flags)
		require.Zero(t, got.code, got.err)
		require.Equal(t, "web-9", parse(t, got.out)["name"])
		require.Equal(t, map[string]any{"owner": "ann"}, parse(t, got.out)["metadata"])
		req := cluster.Calls("UpdateInstance")[0].Request.(*conductorv1.UpdateInstanceRequest)
		require.Nil(t, req.DeleteProtection, "what was not named is not changed")
	}
}

func TestRenameIsAnUpdate(t *testing.T) {
	sh := at(clitest.New().Start(t))
	require.Equal(t, "web-8", parse(t, sh.run(t.Context(), "instance rename web-0 web-8 -o json").out)["name"])
}

func TestProtectionIsPutOnAndTakenOff(t *testing.T) {
	sh := at(clitest.New().Start(t))
	for _, step := range []struct {
		flag      string
		protected bool
	}{
		{"--protect", true},
		{"--unprotect", false},
		{"--delete-protection", true},
		{"--on-host-boot stopped", true},
		{"--delete-protection=false", false},
	} {
		got := sh.run(t.Context(), "instance update web-0 -o json "+step.flag)
		require.Zero(t, got.code, got.err)
		require.Equal(t, step.protected, parse(t, got.out)["delete_protection"], step.flag)
		if step.protected {
			require.Equal(t, exit.Refused, sh.run(t.Context(), "instance delete web-0").code, step.flag)
		}
	}
	require.Zero(t, sh.run(t.Context(), "instance delete web-0").code)
	require.Equal(t, "stopped", parse(t, sh.run(t.Context(), "instance show web-0 -o json").out)["on_host_boot"])
}

func TestAnUpdateOfAnOlderRevisionIsRefused(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	require.Zero(t, sh.run(t.Context(), "instance update web-0 --name web-1 --if-revision 7").code)
	got := sh.run(t.Context(), "instance update web-1 --name web-2 --if-revision 7")
	require.Equal(t, exit.Refused, got.code)
	require.Contains(t, got.err, "read it again")
}

func TestAnUpdateOfOneRevisionIsNotRepeatedWhenItsAnswerIsLost(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	a.LoseAnswers(1)
	got := at(a, b).run(t.Context(), "instance update web-0 --name web-1 --if-revision 7")
	require.Equal(t, exit.Unavailable, got.code, "a second one would be refused for what the first one did")
	require.Len(t, cluster.Calls("UpdateInstance"), 1)
}
