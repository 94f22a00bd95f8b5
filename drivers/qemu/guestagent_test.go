package qemu_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu"
	"leasehold/drivers/qemu/linuxguest"
	"leasehold/drivers/qemu/qga"
	"leasehold/drivers/qemu/shim/shimtest"
	"leasehold/vm"
)

// linuxPatience bounds the waits for the Linux guest, whose boot takes 4 CPU seconds.
const linuxPatience = 3 * patience

// newLinux describes a machine that runs the Linux guest.
func newLinux(t *testing.T) drivers.Spec {
	t.Helper()
	cache, err := linuxguest.Cache()
	require.NoError(t, err)
	disk, err := linuxguest.Disk(t.Context(), cache)
	require.NoError(t, err)
	s := newSpec()
	s.Size.MemoryMiB = linuxguest.MemoryMiB
	s.Image = drivers.Image{ID: "linux", Name: "linux", URL: "file://" + disk, Format: "qcow2"}
	return s
}

// tells gives a command to the Linux guest and returns the line of its answer that begins with prefix.
func (l *line) tells(command, prefix string) string {
	l.Helper()
	l.all = ""
	l.say(command + "\n")
	for deadline := time.After(patience); !strings.HasSuffix(l.all, "ok\r\n"); {
		select {
		case s, open := <-l.heard:
			require.True(l, open, "the line has ended")
			l.all += s
		case <-deadline:
			require.FailNow(l, "no answer to "+command, l.all)
		}
	}
	for text := range strings.SplitSeq(l.all, "\r\n") {
		if strings.HasPrefix(text, prefix) {
			return text
		}
	}
	require.FailNow(l, "another answer to "+command, l.all)
	return ""
}

// TestGuestsAgentIsReached has all that needs the Linux guest in one boot.
func TestGuestsAgentIsReached(t *testing.T) {
	h := newHost(t, variants(t)[0])
	var said bytes.Buffer
	require.NoError(t, h.d.Close())
	d, err := qemu.New(t.Context(), qemu.Config{
		Dir: h.dir, Accel: qemu.AccelTCG, ShimCommand: shimtest.Command(),
		Log: hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Trace}),
	})
	require.NoError(t, err, install)
	h.d = d
	s := newLinux(t)
	require.NoError(t, h.d.Prepare(h.ctx(), s, quiet))
	require.NoError(t, h.d.Start(h.ctx(), s.ID, quiet))
	l := dial(t, h.d, s.ID)
	defer func() { l.hangUp() }()

	err = h.d.SetPassword(h.ctx(), s.ID, "root", "too early", quiet)
	require.ErrorIs(t, err, drivers.ErrNoAgent, "it is booting")
	require.True(t, l.hear(linuxguest.AgentReady, linuxPatience))
	require.Equal(t, "passwd root:*", l.tells("passwd root", "passwd "), "what nobody waited for was not done")

	require.True(t, t.Run("password", func(t *testing.T) { setsPassword(t, h, l, s.ID) }))
	require.True(t, t.Run("freeze", func(t *testing.T) { freezes(t, h, l, s.ID) }))
	require.True(t, t.Run("predecessor", func(t *testing.T) {
		require.NoError(t, h.d.LeaveFrozen(h.ctx(), s.ID))
		require.True(t, l.hear("FROZEN", patience))
		l.hangUp()
		h.restart()
		l = dial(t, h.d, s.ID)
		until(t, "the thaw", func() bool { return strings.HasPrefix(l.tells("frozen", "frozen "), "frozen thawed") })
	}))

	log := said.String() // of the driver that is closed
	require.Contains(t, log, "set a password")
	for _, secret := range []string{"too early", "pass word"} {
		require.NotContains(t, log, secret)
		require.NotContains(t, log, base64.StdEncoding.EncodeToString([]byte(secret)))
	}
}

func setsPassword(t *testing.T, h *host, l *line, id vm.InstanceID) {
	t.Helper()
	var seen []vm.Progress
	require.NoError(t, h.d.SetPassword(h.ctx(), id, "operator", "pass word", func(p vm.Progress) { seen = append(seen, p) }))
	entry := l.tells("passwd operator", "passwd ")
	parts := strings.Split(entry, "$")
	require.Len(t, parts, 3, entry)
	sum := sha256.Sum256([]byte(parts[1] + "pass word"))
	require.Equal(t, hex.EncodeToString(sum[:]), parts[2])
	require.NotEmpty(t, seen)
	for _, p := range seen {
		require.Equal(t, "password", p.Phase)
	}

	err := h.d.SetPassword(h.ctx(), id, "nobody", "secret", quiet)
	refusal, ok := errors.AsType[*qga.Error](err)
	require.True(t, ok, err)
	require.Equal(t, `there is no user "nobody"`, refusal.Desc)
	require.NotErrorIs(t, err, drivers.ErrNoAgent)
}

func freezes(t *testing.T, h *host, l *line, id vm.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	thaw, err := h.d.Freeze(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "frozen frozen 1", l.tells("frozen", "frozen "))
	l.say("write vda 500000000 x\n")
	require.True(t, l.hear("error: frozen", patience))
	cancel()
	thaw()
	require.Equal(t, "frozen thawed 1", l.tells("frozen", "frozen "), "thaw outlives its context")
	l.tells("write vda 500000000 x", "ok")
}

func TestGuestWithoutAgentIsToldFromARefusal(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		l := dial(h.T, h.d, id)
		defer l.hangUp()
		for range 2 {
			began := time.Now()
			require.ErrorIs(h, h.d.SetPassword(h.ctx(), id, "root", "secret", quiet), drivers.ErrNoAgent)
			require.GreaterOrEqual(h, time.Since(began), 2*time.Second, "it may have been slow")
		}
		thaw, err := h.d.Freeze(h.ctx(), id)
		require.NoError(h, err, "a disk can be copied all the same")
		thaw()
		require.NotZero(h, l.count(), "and the guest did not notice")
	})
}

func TestMachineThatCannotHaveAnAgentSaysSoAtOnce(t *testing.T) {
	each(t, func(h *host) {
		id := h.booted()
		require.NoError(h, os.Remove(h.file(id, "qga")), "as when an older version started it")
		err := h.d.SetPassword(h.ctx(), id, "root", "secret", quiet)
		require.ErrorIs(h, err, drivers.ErrNoAgent)
		require.ErrorContains(h, err, "until it is rebooted")
		require.NoError(h, h.d.Stop(h.ctx(), id, 0, quiet))
		err = h.d.SetPassword(h.ctx(), id, "root", "secret", quiet)
		require.ErrorIs(h, err, drivers.ErrNoAgent)
		require.ErrorContains(h, err, "it is off")
		require.ErrorIs(h, h.d.SetPassword(h.ctx(), "none", "root", "secret", quiet), drivers.ErrNoMachine)
	})
}

func TestInterruptGetsPastASilentAgent(t *testing.T) {
	h := newHost(t, variants(t)[0])
	id := h.booted()
	begun, errs := make(chan struct{}), make(chan error, 1)
	go func() {
		errs <- h.d.SetPassword(h.ctx(), id, "root", "secret", func(vm.Progress) { close(begun) })
	}()
	<-begun
	require.NoError(t, h.d.Interrupt(h.ctx(), id, false))
	err := <-errs
	require.Error(t, err)
	require.NotErrorIs(t, err, drivers.ErrNoAgent, "nobody waited for it")
}
