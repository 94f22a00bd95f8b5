package cli_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

// commands are all lines that stand for a command, found in the help as a person would.
func commands(t *testing.T, line string) []string {
	t.Helper()
	help := (&shell{}).run(t.Context(), line+" --help").out
	lines := []string{line}
	_, below, _ := strings.Cut(help, "Available Commands:\n")
	below, _, _ = strings.Cut(below, "\n\n")
	for row := range strings.SplitSeq(below, "\n") {
		if name, _, ok := strings.Cut(strings.TrimSpace(row), " "); ok && name != "help" && name != "completion" {
			lines = append(lines, commands(t, strings.TrimSpace(line+" "+name))...)
		}
	}
	return lines
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	all := commands(t, "")
	require.Greater(t, len(all), 55)
	for _, line := range all {
		got := (&shell{}).run(t.Context(), line+" --help")
		require.Zero(t, got.code, line)
		require.Contains(t, got.out, "Examples:\n  vmctl "+strings.TrimSpace(strings.Join(strings.Fields(line), " ")), line)
	}
}

func TestTheExitCodesAreDocumented(t *testing.T) {
	help := (&shell{}).run(t.Context(), "help exit-codes")
	require.Zero(t, help.code)
	doc, err := os.ReadFile("../../cmd/vmctl/doc.go")
	require.NoError(t, err)
	for line := range strings.SplitSeq(strings.TrimSpace(exit.Table()), "\n") {
		require.Contains(t, help.out, strings.TrimSpace(line))
		require.Contains(t, string(doc), strings.TrimSpace(line))
	}
}

func TestVersion(t *testing.T) {
	require.NotEmpty(t, strings.TrimSpace((&shell{}).run(t.Context(), "version").out))
	require.Contains(t, parse(t, (&shell{}).run(t.Context(), "version -o json").out), "version")
	require.Contains(t, (&shell{}).run(t.Context(), "version -o yaml").out, "version: ")
}

func TestCompletionAsksTheServer(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	require.Zero(t, sh.run(t.Context(), "instance create db-1 --flavor tiny --image default").code)
	complete := func(line, typed string) []string {
		var out, err buffer
		args := append(strings.Fields("__complete "+line), typed)
		require.Zero(t, sh.words(t.Context(), args, &out, &err))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Equal(t, ":4", lines[len(lines)-1], "and never files")
		return lines[:len(lines)-1]
	}
	require.Equal(t, []string{"web-0\tactive", "db-1\tbuilding"}, complete("instance stop", ""))
	require.Equal(t, []string{"web-0\tactive"}, complete("explain", "we"))
	require.Equal(t, []string{web0 + "\tweb-0", web1 + "\tdb-1"}, complete("instance show", "0193"))
	require.Equal(t, []string{task1 + "\tcreate running"}, complete("task watch", ""))
	require.Equal(t, []string{"tiny"}, complete("instance create --flavor", "t"))
	require.Equal(t, []string{"stopped"}, complete("instance list --state", "st"))
	require.Equal(t, []string{"json"}, complete("instance list -o", "j"))
	require.Equal(t, []string{"web-0\tactive"}, complete("instance rescue", "w"))
	require.Equal(t, []string{"default\traw"}, complete("instance rebuild web-0 --image", "d"))
	require.Equal(t, []string{"h1\tup", "h2\tdown"}, complete("host delete", ""))
	require.Equal(t, []string{"stopped"}, complete("instance update web-0 --on-host-boot", "s"))
	require.Equal(t, []string{"recovery", "restart"}, complete("fsm show actions", "re"))
	require.Equal(t, []string{"web-0\tactive"}, complete("instance events", "w"))
	require.Empty(t, complete("instance stop web-0", ""), "it takes one only")
}

func TestCompletionIsSilentWhenNobodyAnswers(t *testing.T) {
	r := clitest.New().Start(t)
	r.Kill()
	got := at(r).run(t.Context(), "__complete instance stop w")
	require.Zero(t, got.code)
	require.Equal(t, ":4\n", got.out)
}

func TestCompletionScriptsAreMadeForEveryShell(t *testing.T) {
	for _, kind := range []string{"bash", "zsh", "fish", "powershell"} {
		got := (&shell{}).run(t.Context(), "completion "+kind)
		require.Zero(t, got.code, kind)
		require.Contains(t, got.out, "vmctl", kind)
	}
}
