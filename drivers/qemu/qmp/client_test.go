package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"leasehold/drivers/qemu/qmp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// monitor is the hypervisor's end of a connection. It answers nothing by itself but the handshake.
type monitor struct {
	*testing.T
	net.Conn
	in *bufio.Scanner
}

type command struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        uint64          `json:"id"`
}

func (m *monitor) tell(format string, args ...any) {
	_, err := fmt.Fprintf(m, format+"\n", args...)
	if err != nil {
		m.Errorf("cannot tell: %v", err)
	}
}

func (m *monitor) hear() (c command) {
	if !m.in.Scan() {
		m.Errorf("cannot hear a command: %v", m.in.Err())
		return c
	}
	if err := json.Unmarshal(m.in.Bytes(), &c); err != nil {
		m.Errorf("cannot understand %s: %v", m.in.Text(), err)
	}
	return c
}

// connect makes a client and its monitor. Both live in the bubble of the test.
func connect(t *testing.T, sink func(qmp.Event)) (*qmp.Client, *monitor) {
	t.Helper()
	near, far := net.Pipe()
	m := &monitor{T: t, Conn: far, in: bufio.NewScanner(far)}
	var greeting sync.WaitGroup
	greeting.Go(func() {
		m.tell(`{"QMP":{"version":{"qemu":{"major":7}},"capabilities":["oob"]}}`)
		m.tell(`{"return":{},"id":%d}`, m.hear().ID)
	})
	c, err := qmp.New(t.Context(), near, sink)
	require.NoError(t, err)
	greeting.Wait()
	t.Cleanup(func() { c.Close(); far.Close() })
	return c, m
}

func ignore(qmp.Event) {}

func TestDoReturnsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := connect(t, ignore)
		go func() {
			q := m.hear()
			m.tell(`{"return":{"status":%s},"id":%d}`, q.Arguments, q.ID)
		}()
		var got struct{ Status int }
		require.NoError(t, c.Do(t.Context(), "echo", 42, &got))
		require.Equal(t, 42, got.Status)
	})
}

func TestDoReturnsTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := connect(t, ignore)
		go func() { m.tell(`{"error":{"class":"GenericError","desc":"no medium"},"id":%d}`, m.hear().ID) }()
		err := c.Do(t.Context(), "eject", nil, nil)
		refusal, ok := errors.AsType[*qmp.Error](err)
		require.True(t, ok)
		require.Equal(t, qmp.Error{Command: "eject", Class: "GenericError", Desc: "no medium"}, *refusal)
		require.EqualError(t, err, "cannot eject: no medium")
	})
}

func TestAnswersFindTheirCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := connect(t, ignore)
		const many = 20
		go func() {
			var asked []command
			for range many {
				asked = append(asked, m.hear())
			}
			for i := range asked { // in the opposite order
				q := asked[many-1-i]
				m.tell(`{"return":%s,"id":%d}`, q.Arguments, q.ID)
			}
		}()
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				var got int
				if err := c.Do(t.Context(), "echo", i, &got); err != nil || got != i {
					t.Errorf("command %d was answered %d, %v", i, got, err)
				}
			})
		}
		all.Wait()
	})
}

func TestEventsComeInOrderAndBeforeLaterAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		c, m := connect(t, func(e qmp.Event) { got = append(got, e.Name+string(e.Data)) })
		go func() {
			q := m.hear()
			m.tell(`{"event":"POWERDOWN","timestamp":{"seconds":1,"microseconds":2}}`)
			m.tell(`{"event":"SHUTDOWN","data":{"guest":true}}`)
			m.tell(`{"return":{},"id":%d}`, q.ID)
		}()
		require.NoError(t, c.Do(t.Context(), "query-status", nil, nil))
		require.Equal(t, []string{"POWERDOWN", `SHUTDOWN{"guest":true}`}, got)
	})
}

func TestContextEndsACommandAndItsLateAnswerIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := connect(t, ignore)
		var late command
		heard := make(chan struct{})
		go func() { late = m.hear(); close(heard) }()
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, why)
		defer cancel()
		require.ErrorIs(t, c.Do(ctx, "stop", nil, nil), why)
		<-heard
		go func() {
			q := m.hear()
			m.tell(`{"return":1,"id":%d}`, late.ID)
			m.tell(`{"return":2,"id":%d}`, q.ID)
		}()
		var got int
		require.NoError(t, c.Do(t.Context(), "query", nil, &got))
		require.Equal(t, 2, got)
	})
}

func TestEndOfConnectionEndsEveryCommand(t *testing.T) {
	for name, end := range map[string]func(*monitor, *qmp.Client){
		"by the hypervisor": func(m *monitor, _ *qmp.Client) { m.Close() },
		"by us":             func(_ *monitor, c *qmp.Client) { c.Close() },
		"by nonsense":       func(m *monitor, _ *qmp.Client) { m.tell("what?") },
		"by a refusal of something that is not known": func(m *monitor, _ *qmp.Client) {
			m.tell(`{"error":{"class":"GenericError","desc":"JSON parse error"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := connect(t, ignore)
				errs := make(chan error, 3)
				for range cap(errs) {
					go func() { errs <- c.Do(t.Context(), "query-status", nil, nil) }()
				}
				for range cap(errs) {
					m.hear()
				}
				end(m, c)
				for range cap(errs) {
					require.ErrorIs(t, <-errs, qmp.ErrClosed)
				}
				<-c.Done()
				require.ErrorIs(t, c.Do(t.Context(), "query-status", nil, nil), qmp.ErrClosed)
			})
		})
	}
}

func TestAHypervisorThatDoesNotReadBlocksNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, ignore)
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := c.Do(t.Context(), "cont", nil, nil); !errors.Is(err, qmp.ErrClosed) {
					t.Errorf("cont ended with %v", err)
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, time.Since(began), 5*time.Second)
	})
}

func TestNewEndsWithItsContextWhenNobodyGreets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := qmp.New(ctx, near, ignore)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestFileGoesAlongWithItsCommand(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	near, err := net.Dial("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	far, err := l.Accept()
	require.NoError(t, err)
	got := make(chan string, 1)
	go func() {
		m := &monitor{T: t, Conn: far, in: bufio.NewScanner(far)}
		m.tell(`{"QMP":{}}`)
		m.tell(`{"return":{},"id":%d}`, m.hear().ID)
		b, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
		n, space, _, _, err := far.(*net.UnixConn).ReadMsgUnix(b, rights)
		if err != nil {
			t.Errorf("cannot read: %v", err)
		}
		var c command
		if err := json.Unmarshal(b[:n], &c); err != nil {
			t.Errorf("cannot understand %s: %v", b[:n], err)
		}
		got <- c.Execute + " " + contentOf(t, rights[:space])
		m.tell(`{"return":{},"id":%d}`, c.ID)
	}()
	c, err := qmp.New(t.Context(), near, func(qmp.Event) {})
	require.NoError(t, err)
	defer c.Close()
	defer far.Close()
	path := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, c.Give(t.Context(), f, "memory"))
	require.Equal(t, "getfd content", <-got)
}

// contentOf reads the file that came along.
func contentOf(t *testing.T, rights []byte) string {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		t.Errorf("no file came along: %v", err)
		return ""
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Errorf("no file came along: %v", err)
		return ""
	}
	f := os.NewFile(uintptr(fds[0]), "came along")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Errorf("cannot read what came along: %v", err)
	}
	return string(b)
}
