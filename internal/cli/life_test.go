package cli_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
	"leasehold/vm"
)

func TestTheVerbsOfTheWholeLife(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	for _, step := range []struct{ line, state string }{
		{"suspend web-0", "suspended"},
		{"resume web-0", "active"},
		{"rescue web-0 --image default", "rescued"},
		{"unrescue web-0", "active"},
		{"rebuild web-0", "active"},
	} {
		require.Zero(t, sh.run(t.Context(), "instance "+step.line).code, step.line)
		cluster.End(vm.TaskSucceeded, nil)
		require.Equal(t, step.state, parse(t, sh.run(t.Context(), "instance show web-0 -o json").out)["vm_state"], step.line)
	}
	require.Equal(t, "default", cluster.Calls("RescueInstance")[0].Request.(*conductorv1.ImageVerbRequest).GetImage())
	require.Empty(t, cluster.Calls("RebuildInstance")[0].Request.(*conductorv1.ImageVerbRequest).GetImage(), "its own")
}

func TestAVerbThatIsNotLegalSaysWhatIs(t *testing.T) {
	got := at(clitest.New().Start(t)).run(t.Context(), "instance resume web-0")
	require.Equal(t, exit.Refused, got.code)
	require.Contains(t, got.err, "cannot resume instance web-0 again: it is running")
	require.Contains(t, got.err, "\n  it is already so\n  legal now: stop, reboot, ")
}

func TestAVerbThatTheServerCannotDoSaysSo(t *testing.T) {
	cluster := clitest.New()
	cluster.Refuse("SuspendInstance", &vm.Refusal{
		Why: vm.ReasonUnsupported, Host: "h1",
		Message: "cannot suspend instance web-0: the driver qemu of host h1 does not have that power",
	})
	require.Equal(t, result{
		code: exit.Unsupported,
		err:  "error: cannot suspend instance web-0: the driver qemu of host h1 does not have that power\n  host: h1\n",
	}, at(cluster.Start(t)).run(t.Context(), "instance suspend web-0 --wait"))
}

func TestASnapshotShowsTheImageThatItMakes(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	run := sh.start(t.Context(), "instance snapshot web-0 --name nightly --wait")
	cluster.Await(t, "WatchTask", 1)
	create := "instance create web-1 --flavor tiny --image nightly"
	require.Equal(t, exit.Refused, sh.run(t.Context(), create).code, "it is being saved")
	require.Contains(t, sh.run(t.Context(), "image list").out, "  nightly  raw     -     saving  ")
	cluster.End(vm.TaskSucceeded, nil)
	got := ended(t, run)
	require.Equal(t, result{out: "" +
		"INSTANCE                              NAME   STATE   TASK                                  KIND      STATUS     IMAGE\n" +
		web0 + "  web-0  active  " + task1 + "  snapshot  succeeded  nightly (active)\n"}, got)
	require.Zero(t, sh.run(t.Context(), create).code)
	require.Equal(t, exit.Refused, sh.run(t.Context(), "image delete nightly").code, "web-1 was made from it")
	require.Equal(t, exit.Refused, sh.run(t.Context(), "instance snapshot web-0 --name nightly").code, "the name is taken")
}

func TestTheImageOfASnapshotThatFailedIsNotShown(t *testing.T) {
	cluster := clitest.New()
	run := at(cluster.Start(t)).start(t.Context(), "instance snapshot web-0 --name nightly --wait -o json")
	cluster.Await(t, "WatchTask", 1)
	cluster.End(vm.TaskFailed, &conductorv1.Fault{Reason: "driver", Message: "the disk is full"})
	got := ended(t, run)
	require.Equal(t, exit.Failed, got.code)
	require.Nil(t, parse(t, got.out)["image"])
}

func TestUsageIsATable(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	require.Equal(t, result{out: "VCPU  RUN    WAIT\n0     1m30s  1.5s\n"}, sh.run(t.Context(), "instance usage web-0"))
	require.Len(t, parse(t, sh.run(t.Context(), "instance usage web-0 -o json").out)["vcpus"], 1)
	sh.run(t.Context(), "instance stop web-0")
	cluster.End(vm.TaskSucceeded, nil)
	require.Equal(t, result{out: "nothing of it executes on host h1\n"}, sh.run(t.Context(), "instance usage web-0"))
}

func TestActionsAreTheLegalOnesFirst(t *testing.T) {
	sh := at(clitest.New().Start(t))
	sh.screen = 80
	got := sh.run(t.Context(), "instance actions web-0")
	require.Zero(t, got.code, got.err)
	require.Regexp(t, `(?s)^ACTION +LEGAL +TO +WHY\nstop +yes.*\ndelete +yes.*\nstart +no +- +cannot start`, got.out)
	requireFits(t, got.out, 80)
}
