package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// redrawn is how often a test looks at what is drawn.
const redrawn = 5 * time.Millisecond

func TestEveryReasonOfAServerEndsWithItsCode(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	for _, reason := range rpc.Reasons() {
		refusal := vm.Refuse(reason, "cannot do it")
		cluster.Refuse("StartInstance", refusal)
		got := sh.run(t.Context(), "instance start web-0 -o json")
		require.Equal(t, exit.Of(refusal), got.code, reason)
		require.Empty(t, got.out)
		problem := parse(t, got.err)["error"].(map[string]any)
		if got.code != exit.Usage {
			require.Equal(t, string(reason), problem["reason"])
		}
		require.InDelta(t, int(got.code), problem["exit_code"], 0)
	}
}

func TestARefusalTellsItsFacts(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	require.Zero(t, sh.run(t.Context(), "instance stop web-0").code)
	require.Equal(t, result{
		code: exit.Refused, err: "error: cannot stop web-0: a task is in the way\n" +
			"  task: " + task1 + " (see it with: vmctl task show " + task1 + ")\n" +
			"  held by: c1\n  since: 2026-01-02T03:04:05Z (3m12s ago)\n  legal now: delete\n",
	}, sh.run(t.Context(), "instance stop web-0"))

	problem := parse(t, sh.run(t.Context(), "instance stop web-0 -o json").err)["error"].(map[string]any)
	require.Equal(t, "task_in_progress", problem["reason"])
	require.Equal(t, task1, problem["task"])
	require.Equal(t, "2026-01-02T03:04:05Z", problem["since"])
	require.Equal(t, []any{"delete"}, problem["allowed"])
}

func TestWhatIsAlreadySoIsSaid(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.run(t.Context(), "instance stop web-0")
	cluster.End(vm.TaskSucceeded, nil)
	got := sh.run(t.Context(), "instance stop web-0")
	require.Equal(t, exit.Refused, got.code)
	require.Contains(t, got.err, "it is already so")
}

func TestUnknownThingsAreNotFound(t *testing.T) {
	sh := at(clitest.New().Start(t))
	for _, line := range []string{
		"instance show nobody", "instance stop nobody", "instance rename nobody x", "explain nobody", "task show 9",
		"task wait 9", "task watch 9", "instance console nobody", "instance events nobody", "instance usage nobody",
		"instance suspend nobody", "instance snapshot nobody --name x", "instance rescue web-0 --image nothing", "host delete h9",
		"image show nothing",
	} {
		require.Equal(t, exit.NotFound, sh.run(t.Context(), line).code, line)
	}
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	r := clitest.New().Start(t)
	r.Kill()
	got := at(r).run(t.Context(), "instance list")
	require.Equal(t, exit.Unavailable, got.code)
	require.Equal(t, "error: cannot connect to any conductor: "+r.Address+": connect: connection refused\n", got.err)
}

func TestAWrongCommandLineIsUsage(t *testing.T) {
	sh := at(clitest.New().Start(t))
	for line, says := range map[string]string{
		"bogus":                                                `unknown command "bogus"`,
		"instance lst":                                         "did you mean list?",
		"instance show":                                        "accepts 1 arg(s), received 0",
		"instance show a b":                                    "accepts 1 arg(s), received 2",
		"instance create x":                                    `"flavor", "image" not set`,
		"instance list --nope":                                 "unknown flag: --nope",
		"instance list -o xml":                                 "none of table, wide, json, yaml",
		"instance list --timeout 0s":                           "cannot work with a timeout of 0s",
		"instance list --timeout soon":                         `invalid argument "soon"`,
		"instance list --server http://c1":                     "cannot use \"http://c1\" as a server",
		"instance update web-0":                                "no change is given",
		"instance update web-0 --set a=1 --unset a":            "cannot set and unset",
		"instance update web-0 --set a=1 --metadata a=2":       "cannot set and unset",
		"instance update web-0 --protect --unprotect":          "none of the others can be",
		"instance snapshot web-0":                              `"name" not set`,
		"instance set-password web-0 secret":                   "accepts 1 arg(s), received 2",
		"instance set-password web-0":                          "cannot set an empty password",
		"instance set-password web-0 --password-file /nowhere": "cannot read the password",
		"instance events":                                      "accepts 1 arg(s), received 0",
		"events --since -1":                                    "it is below zero",
		"host confirm-fenced h2":                               `"reason" not set`,
		"fsm show verbs":                                       `cannot show the table "verbs"`,
		"instance list --config /nowhere.yaml":                 "cannot read the configuration",
	} {
		got := sh.run(t.Context(), line)
		require.Equal(t, exit.Usage, got.code, line)
		require.Empty(t, got.out, line)
		require.Contains(t, got.err, says, line)

		asJSON := sh.run(t.Context(), "-o json "+strings.ReplaceAll(line, "-o xml", "--format xml"))
		require.Equal(t, exit.Usage, asJSON.code, line)
		require.Equal(t, "invalid_argument", parse(t, asJSON.err)["error"].(map[string]any)["reason"], line)
	}
}

func TestSettingsComeFromFlagsThenEnvironmentThenFile(t *testing.T) {
	cluster := clitest.New()
	r := cluster.Start(t)
	file := filepath.Join(t.TempDir(), "vmctl.yaml")
	require.NoError(t, os.WriteFile(file, []byte("server: ["+r.Address+"]\nproject: of-file\noutput: json\ntimeout: 5s\n"), 0o600))
	sh := &shell{env: map[string]string{}, config: file}

	got := sh.run(t.Context(), "instance list")
	require.Zero(t, got.code, got.err)
	require.Len(t, parse(t, got.out)["instances"], 1)
	sh.env["LEASEHOLD_PROJECT"] = "of-env"
	sh.run(t.Context(), "instance list")
	sh.run(t.Context(), "instance list --project of-flag")
	var projects []string
	for _, call := range cluster.Calls("ListInstances") {
		projects = append(projects, call.Project)
	}
	require.Equal(t, []string{"of-file", "of-env", "of-flag"}, projects)
	require.Contains(t, sh.run(t.Context(), "instance list -o table").out, "NAME")
}

func TestABadFileIsUsageAndNamesItself(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vmctl.yaml")
	for text, says := range map[string]string{
		"servers: [a]\n":   `unknown field "servers"`,
		"timeout: soon\n":  "cannot take timeout from " + file,
		"server: {a: b}\n": "neither a text nor a list",
		"output: [\n":      "cannot understand " + file,
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		got := (&shell{config: file}).run(t.Context(), "version")
		require.Equal(t, exit.Usage, got.code, text)
		require.Contains(t, got.err, says)
	}
}

func TestCheckFailsOnAViolation(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	require.Equal(t, result{out: "no violations: 1 instances and 0 open tasks looked at, at revision 8\n"},
		sh.run(t.Context(), "check"))
	cluster.Violate("P6", "the lock instance/x is held by no task")
	got := sh.run(t.Context(), "check")
	require.Equal(t, result{code: exit.Failed, out: "PROMISE  VIOLATION\nP6       the lock instance/x is held by no task\n"}, got)
	got = sh.run(t.Context(), "check -o json")
	require.Equal(t, exit.Failed, got.code)
	require.Len(t, parse(t, got.out)["violations"], 1)
}
