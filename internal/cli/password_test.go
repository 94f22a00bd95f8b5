package cli_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

// types is a person at a terminal who types these lines where nothing is shown.
func types(lines ...string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if len(lines) == 0 {
			return "", io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	}
}

func password(t *testing.T, cluster *clitest.Cluster) *conductorv1.SetPasswordRequest {
	t.Helper()
	calls := cluster.Calls("SetPasswordInstance")
	require.Len(t, calls, 1)
	return calls[0].Request.(*conductorv1.SetPasswordRequest)
}

func TestThePasswordIsTypedTwiceAtATerminal(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	sh.secret = types("s3 cret", "s3 cret")
	got := sh.run(t.Context(), "instance set-password web-0 --user ann")
	require.Zero(t, got.code, got.err)
	require.Equal(t, "New password: \nOnce more: \n", got.err)
	require.NotContains(t, got.out, "s3 cret")
	require.Equal(t, "s3 cret", password(t, cluster).GetPassword())
	require.Equal(t, "ann", password(t, cluster).GetUser())
}

func TestThePasswordIsTheFirstLineOfTheInputOrOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("of the file\r\nmore\n"), 0o600))
	for line, want := range map[string]string{
		"instance set-password web-0":                           "of the input",
		"instance set-password web-0 --password-file " + file:   "of the file",
		"instance set-password web-0 --password-file /dev/null": "",
	} {
		cluster := clitest.New()
		sh := at(cluster.Start(t))
		sh.in = strings.NewReader("of the input\n")
		got := sh.run(t.Context(), line)
		if want == "" {
			require.Equal(t, exit.Usage, got.code)
			require.Empty(t, cluster.Calls("SetPasswordInstance"))
			continue
		}
		require.Zero(t, got.code, got.err)
		require.Equal(t, want, password(t, cluster).GetPassword())
		require.Empty(t, password(t, cluster).GetUser(), "the server's default")
	}
}

func TestAPasswordThatIsNotSureIsNotSent(t *testing.T) {
	for name, typed := range map[string]func(context.Context) (string, error){
		"it was typed differently": types("one", "two"),
		"an empty password":        types(""),
		"EOF":                      types(),
	} {
		cluster := clitest.New()
		sh := at(cluster.Start(t))
		sh.secret = typed
		got := sh.run(t.Context(), "instance set-password web-0")
		require.Equal(t, exit.Usage, got.code, name)
		require.Contains(t, got.err, name)
		require.Empty(t, cluster.Calls("SetPasswordInstance"), name)
	}
}

func TestCtrlCEndsThePrompt(t *testing.T) {
	cluster := clitest.New()
	sh := at(cluster.Start(t))
	ctx, interrupt := context.WithCancel(t.Context())
	sh.secret = func(ctx context.Context) (string, error) {
		interrupt()
		<-ctx.Done()
		return "", errors.New("interrupted")
	}
	require.Equal(t, exit.Interrupted, sh.run(ctx, "instance set-password web-0").code)
	require.Empty(t, cluster.Calls("SetPasswordInstance"))
}

func TestAFileThatWasNamedByMistakeIsNoPassword(t *testing.T) {
	sh := at(clitest.New().Start(t))
	sh.in = strings.NewReader(strings.Repeat("x", 1<<20))
	got := sh.run(t.Context(), "instance set-password web-0")
	require.Equal(t, exit.Usage, got.code)
	require.Contains(t, got.err, "its first line is longer than 4096 bytes")
}
