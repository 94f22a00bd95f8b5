package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/internal/cli"
	"leasehold/internal/cli/clitest"
	"leasehold/internal/cli/exit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is written by a command and read by its test, maybe at once.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// shell runs vmctl. Its clock stands 3m12s after everything began.
type shell struct {
	env      map[string]string
	in       io.Reader
	terminal bool
	config   string
	raw      func() (func(), error)
	secret   func(context.Context) (string, error)
	screen   int // columns of standard output as a terminal
}

// result is what one run leaves.
type result struct {
	code     exit.Code
	out, err string
}

// at is a shell whose servers are the replicas.
func at(replicas ...*clitest.Replica) *shell {
	var servers []string
	for _, r := range replicas {
		servers = append(servers, r.Address)
	}
	return &shell{env: map[string]string{"LEASEHOLD_SERVER": strings.Join(servers, ",")}, in: strings.NewReader("")}
}

func (s *shell) run(ctx context.Context, line string) result {
	var out, err buffer
	code := s.into(ctx, line, &out, &err)
	return result{code, out.String(), err.String()}
}

func (s *shell) into(ctx context.Context, line string, out, err io.Writer) exit.Code {
	return s.words(ctx, strings.Fields(line), out, err)
}

func (s *shell) words(ctx context.Context, args []string, out, err io.Writer) exit.Code {
	env := cli.Env{
		In: s.in, Out: out, Err: err, Config: s.config, Raw: s.raw, Secret: s.secret,
		Getenv: func(name string) string { return s.env[name] },
		Now:    func() time.Time { return clitest.Began.Add(3*time.Minute + 12*time.Second) },
	}
	if s.terminal {
		env.Terminal = func() int { return 100 }
	}
	if s.screen > 0 {
		env.Screen = func() int { return s.screen }
	}
	return cli.Main(ctx, args, env)
}

// start runs vmctl in the background.
func (s *shell) start(ctx context.Context, line string) <-chan result {
	done := make(chan result, 1)
	go func() { done <- s.run(ctx, line) }()
	return done
}

func ended(t *testing.T, run <-chan result) result {
	t.Helper()
	select {
	case r := <-run:
		return r
	case <-time.After(clitest.Patience):
		require.FailNow(t, "vmctl still runs")
		return result{}
	}
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

func requireFits(t *testing.T, text string, columns int) {
	t.Helper()
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), columns, line)
	}
}
