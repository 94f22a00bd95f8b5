package cli_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/cli/clitest"
)

// typewriter is a person at the console: what is typed, and the screen.
type typewriter struct {
	t      *testing.T
	keys   *io.PipeWriter
	screen *buffer
}

func (w *typewriter) types(text string) {
	w.t.Helper()
	_, err := io.WriteString(w.keys, text)
	require.NoError(w.t, err)
}

func (w *typewriter) sees(text string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return strings.Contains(w.screen.String(), text) }, clitest.Patience, redrawn)
}

// sit opens the console of web-0 on a terminal; restored counts how often the terminal was given back.
func sit(t *testing.T, sh *shell) (person *typewriter, messages *buffer, restored *int, done chan int) {
	t.Helper()
	in, keys := io.Pipe()
	t.Cleanup(func() { _ = keys.Close() })
	person, messages, restored = &typewriter{t, keys, &buffer{}}, &buffer{}, new(int)
	sh.in, sh.raw = in, func() (func(), error) { return func() { *restored++ }, nil }
	done = make(chan int, 1)
	go func() { done <- int(sh.into(t.Context(), "instance console web-0", person.screen, messages)) }()
	return person, messages, restored, done
}

func TestTheConsoleCarriesKeysUntilItIsLeft(t *testing.T) {
	person, messages, restored, done := sit(t, at(clitest.New().Start(t)))
	person.sees("web-0 login: ")
	person.types("root\r\x03") // Ctrl-C is for the guest
	person.sees("root\r\x03")
	person.types("x\x1dnever sent")
	require.Zero(t, <-done)
	require.Equal(t, 1, *restored)
	require.Contains(t, messages.String(), "Ctrl-] leaves")
	require.NotContains(t, person.screen.String(), "never")
}

func TestTheConsoleIsJoinedAgainWhenTheConductorDies(t *testing.T) {
	cluster := clitest.New()
	a, b := cluster.Start(t), cluster.Start(t)
	person, messages, restored, done := sit(t, at(a, b))
	person.sees("web-0 login: ")
	a.Kill()
	cluster.Await(t, "Console", 2)
	person.types("still here")
	person.sees("still here")
	person.types("\x1d")
	require.Zero(t, <-done)
	require.Equal(t, 1, *restored)
	require.Contains(t, messages.String(), "joining again")
}

func TestTheConsoleIsAPipeWithoutATerminal(t *testing.T) {
	sh := at(clitest.New().Start(t))
	sh.in = strings.NewReader("uptime\x1d\n")
	got := sh.run(t.Context(), "instance console web-0")
	require.Equal(t, result{out: "web-0 login: uptime\x1d\n"}, got)
}

func TestTheConsoleEndsWhenTheGuestEndsIt(t *testing.T) {
	person, _, restored, done := sit(t, at(clitest.New().Start(t)))
	person.sees("login: ")
	person.types("logout\n")
	require.Zero(t, <-done)
	require.Equal(t, 1, *restored)
}
