package main

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/qga"
)

// record is a serial line that remembers.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// take returns what was said since the last take.
func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.text.Reset()
	return r.text.String()
}

func newGuest(t *testing.T) (*guest, *record) {
	t.Helper()
	said := &record{}
	g := &guest{line: said, shadow: newShadow(filepath.Join(t.TempDir(), "shadow"))}
	require.NoError(t, g.shadow.create("root", "operator"))
	return g, said
}

// connect plays the host of the guest's agent.
func connect(t *testing.T, g *guest) *qga.Client {
	t.Helper()
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.converse(far) // ends with the connection
	}()
	t.Cleanup(func() { near.Close(); <-ended })
	c, err := qga.New(t.Context(), near, time.Minute)
	require.NoError(t, err)
	return c
}

func TestAgentSetsPasswords(t *testing.T) {
	g, said := newGuest(t)
	c := connect(t, g)
	require.NoError(t, c.SetPassword(t.Context(), "operator", "secret"))
	require.Equal(t, "PASSWORD operator\n", said.take())
	entry, err := g.shadow.entry("operator")
	require.NoError(t, err)
	parts := strings.Split(entry, "$")
	require.Len(t, parts, 3)
	require.Equal(t, "operator:"+crypt(parts[1], "secret"), entry)
	entry, err = g.shadow.entry("root")
	require.NoError(t, err)
	require.Equal(t, "root:*", entry)

	for user, password := range map[string]string{"nobody": "secret", "root": "a\noperator:b"} {
		refusal, ok := errors.AsType[*qga.Error](c.SetPassword(t.Context(), user, password))
		require.True(t, ok)
		require.Equal(t, "GenericError", refusal.Class)
	}
	require.Empty(t, said.take())
}

func TestAgentFreezesOnceAndRefusesMostUntilThawed(t *testing.T) {
	g, said := newGuest(t)
	c := connect(t, g)
	n, err := c.Freeze(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	frozen, err := c.Frozen(t.Context())
	require.NoError(t, err)
	require.True(t, frozen)
	require.ErrorIs(t, g.write("vda 0 x"), errFrozen)
	_, err = c.Freeze(t.Context())
	_, refused := errors.AsType[*qga.Error](err)
	require.True(t, refused)
	_, refused = errors.AsType[*qga.Error](c.SetPassword(t.Context(), "root", "secret"))
	require.True(t, refused)
	require.NoError(t, c.Ping(t.Context()))
	for _, want := range []int{1, 0} {
		n, err = c.Thaw(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.Equal(t, "FROZEN\nTHAWED\n", said.take())
	require.EqualError(t, g.obey(strings.NewReader("frozen\n")), "the line has ended")
	require.Equal(t, "frozen thawed 1\nok\n", said.take())
}

func TestSyncEndsWhatWasOnTheLine(t *testing.T) {
	g, _ := newGuest(t)
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.converse(far)
	}()
	defer func() { near.Close(); <-ended }()
	_, err := near.Write([]byte(`{"execute":"guest-set-user-`))
	require.NoError(t, err)
	_, err = qga.New(t.Context(), near, time.Minute)
	require.NoError(t, err)
}

func TestUnknownCommandsAreRefusedOnBothLines(t *testing.T) {
	g, said := newGuest(t)
	require.Contains(t, string(g.answer([]byte(`{"execute":"guest-shutdown"}`))), "CommandNotFound")
	require.Contains(t, string(g.answer([]byte(`{`))), "GenericError")
	_ = g.obey(strings.NewReader("dance\n\nread vda x\n"))
	require.Regexp(t, `^error: there is no command "dance"\nerror: cannot read what to read: .*\n$`, said.take())
}
