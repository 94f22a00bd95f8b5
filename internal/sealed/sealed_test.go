package sealed_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/sealed"
)

func newKey(t *testing.T) *sealed.Key {
	t.Helper()
	key, err := sealed.Generate()
	require.NoError(t, err)
	return key
}

func TestOnlyTheKeyAndTheUseOpenASecret(t *testing.T) {
	key, info := newKey(t), sealed.ForTask("i1", "t1")
	secret, err := sealed.Seal(key.Public(), info, []byte("swordfish"))
	require.NoError(t, err)
	require.NotContains(t, string(secret), "swordfish")
	again, err := sealed.Seal(key.Public(), info, []byte("swordfish"))
	require.NoError(t, err)
	require.NotEqual(t, secret, again, "equal secrets do not look equal")

	opened, err := key.Open(info, secret)
	require.NoError(t, err)
	require.Equal(t, "swordfish", string(opened))

	spoilt := append([]byte{}, secret...)
	spoilt[len(spoilt)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another key":      func() ([]byte, error) { return newKey(t).Open(info, secret) },
		"another instance": func() ([]byte, error) { return key.Open(sealed.ForTask("i2", "t1"), secret) },
		"another task":     func() ([]byte, error) { return key.Open(sealed.ForTask("i1", "t2"), secret) },
		"changed":          func() ([]byte, error) { return key.Open(info, spoilt) },
		"cut short":        func() ([]byte, error) { return key.Open(info, secret[:20]) },
		"nothing":          func() ([]byte, error) { return key.Open(info, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := open()
			require.ErrorIs(t, err, sealed.ErrSealed)
			require.Empty(t, opened)
		})
	}
}

func TestAKeyIsTheSameAfterItWasWritten(t *testing.T) {
	key := newKey(t)
	private, err := key.Bytes()
	require.NoError(t, err)
	read, err := sealed.Parse(private)
	require.NoError(t, err)
	require.Equal(t, key.Public(), read.Public())
	secret, err := sealed.Seal(key.Public(), nil, []byte("swordfish"))
	require.NoError(t, err)
	opened, err := read.Open(nil, secret)
	require.NoError(t, err)
	require.Equal(t, "swordfish", string(opened))
}

func TestWhatIsNoKeyIsRefused(t *testing.T) {
	_, err := sealed.Parse([]byte("short"))
	require.ErrorContains(t, err, "cannot use a private key")
	_, err = sealed.Seal([]byte("short"), nil, nil)
	require.ErrorContains(t, err, "cannot use a public key")
}

func TestAKeyThatIsPrintedKeepsItsSecret(t *testing.T) {
	key := newKey(t)
	private, err := key.Bytes()
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, key)
		require.NotContains(t, text, hex.EncodeToString(private))
		require.Contains(t, text, hex.EncodeToString(key.Public()))
	}
}
