package agent_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/internal/sealed"
	"leasehold/vm"
)

// transcript is a log that a test reads.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func logTo(l *transcript) func(*agent.Config) {
	return func(c *agent.Config) { c.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: l}) }
}

// everything is the content of all files of the host's data directory.
func (h *host) everything() []byte {
	h.t.Helper()
	var all []byte
	require.NoError(h.t, filepath.WalkDir(h.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, content...)
		return err
	}))
	return all
}

// A guest may say no in words that repeat what it was told, and its driver may report them.
func TestAPasswordIsWrittenNowhere(t *testing.T) {
	var log transcript
	h := newHost(t, logTo(&log))
	h.done(command(100, 1, creating()))
	secret := h.seal(task)
	h.done(command(100, 2, settingPassword(secret)))
	h.hyp.set(func(y *hypervisor) {
		require.Equal(t, "root:"+password, y.passwords[machine])
	})

	var told []string
	refusals := []error{
		errors.New("bad password"),
		errors.New("cannot take %s: too easy"),
		fmt.Errorf("%w: %%s is busy", drivers.ErrRetry),
		fmt.Errorf("%w: nobody took %%s", drivers.ErrNoAgent),
	}
	for i, refusal := range refusals {
		h.hyp.set(func(y *hypervisor) { y.answers = func(secret string) error { return repeating(refusal, secret) } })
		result, err := h.follow(t.Context(), command(100, int64(3+i), settingPassword(secret)), func(p *computev1.StepProgress) {
			told = append(told, p.GetNote())
		})
		require.NoError(t, err)
		require.Equal(t, "failed", result.GetOutcome())
		require.Equal(t, errors.Is(refusal, drivers.ErrRetry), result.GetRetryable())
		require.NotEmpty(t, result.GetMessage())
		told = append(told, result.GetMessage())
	}
	require.Contains(t, told, "bad password", "what does not repeat it is told")
	for _, e := range h.fenced(raising(200)).GetJournal() {
		told = append(told, e.GetMessage())
	}
	h.kill()
	files := h.everything()
	for _, form := range []string{
		password, hex.EncodeToString([]byte(password)), base64.StdEncoding.EncodeToString([]byte(password)),
		string(secret), base64.StdEncoding.EncodeToString(secret), hex.EncodeToString(secret),
	} {
		require.NotContains(t, string(files), form)
		require.NotContains(t, log.String(), form)
		require.NotContains(t, fmt.Sprint(told), form)
	}
	require.NotEmpty(t, log.String())
	require.Contains(t, string(files), `"step":"password"`, "the step itself is in the journal")
}

// repeated is an error that has the secret in its message and keeps what callers branch on.
type repeated struct {
	error
	secret string
}

func repeating(err error, secret string) error { return repeated{err, secret} }

func (r repeated) Error() string {
	return string(bytes.ReplaceAll([]byte(r.error.Error()), []byte("%s"), []byte(r.secret)))
}

func (r repeated) Unwrap() error { return r.error }

func TestASecretForAnotherUseIsNotOpened(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	stranger, err := sealed.Generate()
	require.NoError(t, err)
	elsewhere, err := sealed.Seal(stranger.Public(), sealed.ForTask(machine, task), []byte(password))
	require.NoError(t, err)
	for i, secret := range [][]byte{elsewhere, h.seal(other), []byte("garbage"), nil} {
		result, err := h.run(command(100, int64(2+i), settingPassword(secret)))
		require.NoError(t, err)
		require.Equal(t, "failed", result.GetOutcome())
		require.Equal(t, "invalid_argument", result.GetReason())
		require.False(t, result.GetRetryable())
		require.Contains(t, result.GetMessage(), "another key")
	}
	require.NotContains(t, h.hyp.made(), "password")
}

func TestAPasswordIsForSomebody(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.refused(vm.ReasonInvalidArgument, command(100, 2, settingPassword(h.seal(task)), func(r *computev1.RunRequest) {
		r.GetSetPassword().User = ""
	}))
}

func TestAnotherSecretIsAnotherStep(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, settingPassword(h.seal(task))))
	h.refused(vm.ReasonKeyReused, command(100, 2, settingPassword(h.seal(task))))
}

func TestAGuestWithoutAnAgentSaysSo(t *testing.T) {
	h := newHost(t)
	h.hyp.set(func(y *hypervisor) { y.mute = true })
	h.done(command(100, 1, creating()))
	result, err := h.run(command(100, 2, settingPassword(h.seal(task))))
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	require.Equal(t, "unsupported", result.GetReason())
	require.Contains(t, result.GetMessage(), "no agent that answers")
}

func TestTheKeyStaysWithTheDataDirectory(t *testing.T) {
	h := newHost(t)
	first := h.conductor.registered(t).GetPublicKey()
	require.Len(t, first, 32)
	secret := h.seal(task)
	path := filepath.Join(h.dir, "key")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	h.restart()
	require.Equal(t, first, h.conductor.registered(t).GetPublicKey())

	require.NoError(t, h.stop())
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path+".new", []byte("half a k"), 0o600))
	h.start()
	require.NotEqual(t, first, h.conductor.registered(t).GetPublicKey())
	h.done(command(100, 1, creating()))
	result, err := h.run(command(100, 2, settingPassword(secret)))
	require.NoError(t, err)
	require.Equal(t, "invalid_argument", result.GetReason(), "what was sealed to the lost key is lost")
}

func TestADamagedKeyIsRefusedAndNotRepeated(t *testing.T) {
	h := newHost(t)
	require.NoError(t, h.stop())
	for _, damage := range []string{"", "0badc0de", "this is no key"} {
		require.NoError(t, os.WriteFile(filepath.Join(h.dir, "key"), []byte(damage), 0o600))
		err := h.open(h.dir)
		require.ErrorContains(t, err, "cannot use the host's key")
		if damage != "" {
			require.NotContains(t, err.Error(), damage)
		}
	}
}
