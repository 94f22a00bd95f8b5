package cli_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
	"leasehold/vm"
)

const (
	web0  = "01934f01-0000-7000-8000-000000000001"
	web1  = "01934f02-0000-7000-8000-000000000002"
	task1 = "01934f11-0000-7000-8000-000000000001"
)

func TestListIsATable(t *testing.T) {
	got := at(clitest.New().Start(t)).run(t.Context(), "instance list")
	require.Equal(t, result{out: "" +
		"ID                                    NAME   STATE   DOING  POWER    HOST  AGE\n" +
		"01934f01-0000-7000-8000-000000000001  web-0  active  -      running  h1    3m12s\n"}, got)
}

func TestIDsAreShortWhereWholeOnesDoNotFit(t *testing.T) {
	sh := at(clitest.New().Start(t))
	whole := sh.run(t.Context(), "instance list").out
	sh.screen = 120
	require.Equal(t, whole, sh.run(t.Context(), "instance list").out)
	sh.screen = 70
	short := sh.run(t.Context(), "instance list").out
	require.Equal(t, ""+
		"ID             NAME   STATE   DOING  POWER    HOST  AGE\n"+
		"01934f01-0000  web-0  active  -      running  h1    3m12s\n", short)
	require.Contains(t, sh.run(t.Context(), "instance list -o wide").out, web0)
	require.Contains(t, sh.run(t.Context(), "instance show 01934f01-0000").out, web0)
}

func TestListFetchesAllPages(t *testing.T) {
	cluster := clitest.New()
	cluster.PageSize = 2
	sh := at(cluster.Start(t))
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
		require.Zero(t, sh.run(t.Context(), "instance create "+name+" --flavor tiny --image default").code)
	}
	answer := parse(t, sh.run(t.Context(), "instance list -o json").out)
	require.Len(t, answer["instances"], 5)
	require.Empty(t, answer["next_page_token"])
	require.Len(t, cluster.Calls("ListInstances"), 3)
}

func TestShowIsOneFactALine(t *testing.T) {
	got := at(clitest.New().Start(t)).run(t.Context(), "instance show web-0")
	require.Equal(t, result{out: `id:              01934f01-0000-7000-8000-000000000001
name:            web-0
state:           active
power:           running
host:            h1
flavor:          tiny
size:            1 vCPU, 128 MiB, 1 GiB
image:           01934f21-0000-7000-8000-000000000001
availability:    none
project:         default
metadata:        tier=web
in state since:  2026-01-02T03:04:05Z (3m12s ago)
created:         2026-01-02T03:04:05Z (3m12s ago)
updated:         2026-01-02T03:04:05Z (3m12s ago)
revision:        7
`}, got)
}

func TestShowAsJSONHasEveryFieldUnderItsOwnName(t *testing.T) {
	got := at(clitest.New().Start(t)).run(t.Context(), "instance show "+web0[:8]+" -o json")
	require.Zero(t, got.code)
	require.Empty(t, got.err)
	i := parse(t, got.out)
	require.Equal(t, "active", i["vm_state"])
	require.Contains(t, i, "task_state", "fields without a value are present")
	require.InDelta(t, 7, i["revision"], 0)
}

func TestShowAsYAML(t *testing.T) {
	got := at(clitest.New().Start(t)).run(t.Context(), "instance show web-0 -o yaml")
	require.Contains(t, got.out, "\nvm_state: active\n")
	require.Contains(t, got.out, "metadata:\n  tier: web\n")
}

func TestCreateSendsWhatWasAsked(t *testing.T) {
	cluster := clitest.New()
	got := at(cluster.Start(t)).run(t.Context(), "-p blue instance create web-1 --flavor tiny --image default "+
		"--metadata a=b --metadata c=d --host h1 --availability restart --on-host-boot stopped --protect --request-id k1")
	require.Equal(t, result{out: "" +
		"INSTANCE                              NAME   STATE     TASK                                  KIND    STATUS\n" +
		web1 + "  web-1  building  " + task1 + "  create  running\n"}, got)
	call := cluster.Calls("CreateInstance")[0]
	require.Equal(t, "blue", call.Project)
	req := call.Request.(*conductorv1.CreateInstanceRequest)
	require.Equal(t, "web-1", req.GetName())
	require.Equal(t, map[string]string{"a": "b", "c": "d"}, req.GetMetadata())
	require.Equal(t, "h1", req.GetHost())
	require.Equal(t, "restart", req.GetAvailability())
	require.Equal(t, "stopped", req.GetOnHostBoot())
	require.True(t, req.GetDeleteProtection())
	require.Equal(t, "k1", req.GetRequestId())
}

func TestEachOrderHasARequestIDOfItsOwn(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.run(t.Context(), "instance delete web-0")
	sh.run(t.Context(), "instance delete web-0")
	calls := cluster.Calls("DeleteInstance")
	require.Len(t, calls, 2)
	first := calls[0].Request.(*conductorv1.DeleteRequest).GetRequestId()
	require.Len(t, first, 36)
	require.NotEqual(t, first, calls[1].Request.(*conductorv1.DeleteRequest).GetRequestId())
}

func TestAnOrderIsTakenOnceWhenItsAnswerIsLost(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	a.LoseAnswers(1)
	got := at(a, b).run(t.Context(), "instance create web-1 --flavor tiny --image default")
	require.Zero(t, got.code, got.err)
	require.Equal(t, 1, cluster.Tasks())
	require.Len(t, cluster.Calls("CreateInstance"), 2)
}

func TestAnOrderThatStaysUnansweredTellsHowToFindOut(t *testing.T) {
	cluster := clitest.New()
	a := cluster.Start(t)
	a.LoseAnswers(10)
	sh := at(a)
	got := sh.run(t.Context(), "instance stop web-0 --request-id k7")
	require.Equal(t, exit.Unavailable, got.code)
	require.Equal(t, "error: cannot say what came of it: no answer: connection reset\n"+
		"  the same command with --request-id k7 tells, and does nothing twice\n", got.err)
	a.LoseAnswers(0)
	require.Zero(t, sh.run(t.Context(), "instance stop web-0 --request-id k7").code)
	require.Equal(t, 1, cluster.Tasks())
}

func TestStopSendsItsFlags(t *testing.T) {
	cluster := clitest.New()
	at(cluster.Start(t)).run(t.Context(), "instance stop web-0 --force --guest-timeout 90s")
	req := cluster.Calls("StopInstance")[0].Request.(*conductorv1.StopRequest)
	require.True(t, req.GetForce())
	require.Equal(t, int64(90), req.GetTimeout().GetSeconds())
}

func TestExplainIsSentences(t *testing.T) {
	sh := at(clitest.New().Start(t))
	want := result{out: "web-0 is active and idle.\n  state:  It is active since 3 minutes.\n  host:   Its host h1 is up.\n"}
	require.Equal(t, want, sh.run(t.Context(), "explain web-0"))
	require.Equal(t, want, sh.run(t.Context(), "instance explain web-0"))
	require.Contains(t, sh.run(t.Context(), "explain web-0 -o wide").out, "since=2026-01-02T03:04:05Z")
	require.Len(t, parse(t, sh.run(t.Context(), "explain web-0 -o json").out)["facts"], 2)
}

func TestWhatIsDeletedIsListedWhenAskedFor(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.run(t.Context(), "instance delete web-0")
	cluster.End(vm.TaskSucceeded, nil)
	require.NotContains(t, sh.run(t.Context(), "instance list").out, "web-0")
	require.Contains(t, sh.run(t.Context(), "instance list --state deleted").out, "web-0  deleted")
}
