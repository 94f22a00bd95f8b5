package qga_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"leasehold/drivers/qemu/qga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guest is the agent's end of a connection. It answers nothing by itself.
type guest struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

type command struct {
	Execute   string `json:"execute"`
	Arguments struct {
		ID       int64  `json:"id"`
		User     string `json:"username"`
		Password []byte `json:"password"` // base64
	} `json:"arguments"`
	flushed bool // the delimiter came before it
}

func (g *guest) tell(format string, args ...any) {
	if _, err := fmt.Fprintf(g, format+"\n", args...); err != nil {
		g.Errorf("cannot tell: %v", err)
	}
}

func (g *guest) hear() (c command) {
	line, err := g.in.ReadString('\n')
	if err != nil {
		g.Errorf("cannot hear a command: %v", err)
	}
	text, flushed := strings.CutPrefix(line, "\xff")
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		g.Errorf("cannot understand %q: %v", line, err)
	}
	c.flushed = flushed
	return c
}

// greet answers the sync after saying before.
func (g *guest) greet(before ...string) {
	c := g.hear()
	if c.Execute != "guest-sync-delimited" || !c.flushed {
		g.Errorf("the connection begins with %+v", c)
	}
	for _, b := range before {
		g.tell("%s", b)
	}
	g.tell("\xff{\"return\": %d}", c.Arguments.ID)
}

// line is a connection with nobody at its ends yet. Both live in the bubble of the test.
func line(t *testing.T) (net.Conn, *guest) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, &guest{T: t, Conn: far, in: bufio.NewReader(far)}
}

// connect makes a client of an agent that plays its part.
func connect(t *testing.T, play func(*guest)) *qga.Client {
	t.Helper()
	near, g := line(t)
	go func() { g.greet(); play(g) }()
	c, err := qga.New(t.Context(), near, time.Second)
	require.NoError(t, err)
	return c
}

func TestCommandsAreWhatTheAgentExpects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(g *guest) {
			for _, want := range []struct{ name, answer, password string }{
				{"guest-ping", "{}", ""},
				{"guest-set-user-password", "{}", "pass \"word\""},
				{"guest-fsfreeze-freeze", "2", ""},
				{"guest-fsfreeze-status", `"frozen"`, ""},
				{"guest-fsfreeze-thaw", "2", ""},
				{"guest-fsfreeze-status", `"thawed"`, ""},
			} {
				q := g.hear()
				if q.Execute != want.name || string(q.Arguments.Password) != want.password {
					g.Errorf("instead of %+v came %+v", want, q)
				}
				g.tell(`{"return": %s}`, want.answer)
			}
		})
		require.NoError(t, c.Ping(t.Context()))
		require.NoError(t, c.SetPassword(t.Context(), "root", "pass \"word\""))
		n, err := c.Freeze(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, n)
		frozen, err := c.Frozen(t.Context())
		require.NoError(t, err)
		require.True(t, frozen)
		n, err = c.Thaw(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, n)
		frozen, err = c.Frozen(t.Context())
		require.NoError(t, err)
		require.False(t, frozen)
	})
}

func TestWhatAnEarlierCallerLeftOnTheLineIsSkipped(t *testing.T) {
	for name, left := range map[string]string{
		"an answer":                    `{"return": 7}`,
		"a refusal of a cut-off one":   `{"error": {"class": "GenericError", "desc": "JSON parse error"}}`,
		"an answer to another sync":    "\xff{\"return\": -1}",
		"half an answer":               `{"retu`,
		"nonsense, and an older sync ": "?\xff{\"return\": 12",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, g := line(t)
				go func() {
					g.greet(left)
					g.hear()
					g.tell(`{"return": 1}`)
				}()
				c, err := qga.New(t.Context(), near, time.Second)
				require.NoError(t, err)
				n, err := c.Thaw(t.Context())
				require.NoError(t, err)
				require.Equal(t, 1, n)
			})
		})
	}
}

func TestSyncIsFoundBehindHalfAnAnswerOnTheSameLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, g := line(t)
		go func() { g.tell("{\"retu\xff{\"return\": %d}", g.hear().Arguments.ID) }()
		_, err := qga.New(t.Context(), near, time.Second)
		require.NoError(t, err)
	})
}

func TestSilenceIsToldFromTheContextsEnd(t *testing.T) {
	why := errors.New("enough")
	for name, limit := range map[string]time.Duration{"silence": time.Hour, "the context's end": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, g := line(t)
				heard := make(chan command, 1)
				go func() { heard <- g.hear() }() // the port's buffer takes it, and nobody reads
				ctx, cancel := context.WithTimeoutCause(t.Context(), limit, why)
				defer cancel()
				began := time.Now()
				_, err := qga.New(ctx, near, 3*time.Second)
				require.Equal(t, limit > time.Minute, errors.Is(err, qga.ErrSilent))
				require.Equal(t, limit < time.Minute, errors.Is(err, why))
				require.Equal(t, min(limit, 3*time.Second), time.Since(began))
				require.Equal(t, "guest-sync-delimited", (<-heard).Execute)
				_, err = g.in.ReadByte()
				require.Error(t, err, "nothing else was sent, and the connection is closed")
			})
		})
	}
}

func TestRefusalKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(g *guest) {
			g.hear()
			g.tell(`{"error": {"class": "GenericError", "desc": "no such user"}}`)
			g.hear()
			g.tell(`{"return": {}}`)
		})
		err := c.SetPassword(t.Context(), "nobody", "secret")
		refusal, ok := errors.AsType[*qga.Error](err)
		require.True(t, ok)
		require.Equal(t, qga.Error{Command: "guest-set-user-password", Class: "GenericError", Desc: "no such user"}, *refusal)
		require.EqualError(t, err, "cannot execute guest-set-user-password in the guest: no such user")
		require.NoError(t, c.Ping(t.Context()))
	})
}

func TestCallThatIsGivenUpBreaksTheConnection(t *testing.T) {
	why := errors.New("enough")
	for name, c := range map[string]struct {
		limit time.Duration
		says  error
	}{
		"by its context": {time.Second, why},
		"by its limit":   {time.Hour, qga.ErrSilent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := connect(t, func(g *guest) { g.hear() })
				ctx, cancel := context.WithTimeoutCause(t.Context(), c.limit, why)
				defer cancel()
				_, err := client.Freeze(ctx)
				require.ErrorIs(t, err, c.says)
				require.NotContains(t, err.Error(), "secret")
				_, err = client.Thaw(t.Context())
				require.ErrorIs(t, err, qga.ErrClosed, "a late answer would be taken for this one's")
			})
		})
	}
}

func TestEndOfConnectionEndsTheCommand(t *testing.T) {
	for name, end := range map[string]func(*guest){
		"by the guest":             func(g *guest) { g.Close() },
		"by nonsense":              func(g *guest) { g.tell("what?") },
		"by an answer without end": func(g *guest) { _, _ = g.Write(make([]byte, 2<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := connect(t, func(g *guest) { g.hear(); end(g) })
				require.Error(t, c.Ping(t.Context()))
				require.ErrorIs(t, c.Ping(t.Context()), qga.ErrClosed)
			})
		})
	}
}

func TestCommandsOfManyGoroutinesComeOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 10
		c := connect(t, func(g *guest) {
			for range many {
				g.hear()
				synctest.Wait()
				if g.in.Buffered() > 0 {
					g.Error("the next command did not wait for this answer")
				}
				g.tell(`{"return": {}}`)
			}
		})
		errs := make(chan error, many)
		for range many {
			go func() { errs <- c.Ping(t.Context()) }()
		}
		for range many {
			require.NoError(t, <-errs)
		}
	})
}
