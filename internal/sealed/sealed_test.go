package sealed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/internal/sealed"
)

func TestOnlyTheRightKeyOpensForTheRightTask(t *testing.T) {
	key, err := sealed.Generate()
	require.NoError(t, err)
	secret, err := sealed.Seal(key.Public(), sealed.ForTask("i1", "t1"), []byte("swordfish"))
	require.NoError(t, err)
	require.NotContains(t, string(secret), "swordfish")

	text, err := key.Bytes()
	require.NoError(t, err)
	again, err := sealed.Parse(text)
	require.NoError(t, err)
	plain, err := again.Open(sealed.ForTask("i1", "t1"), secret)
	require.NoError(t, err)
	require.Equal(t, "swordfish", string(plain))

	other, err := sealed.Generate()
	require.NoError(t, err)
	_, err = other.Open(sealed.ForTask("i1", "t1"), secret)
	require.Error(t, err, "another host")
	_, err = key.Open(sealed.ForTask("i1", "t2"), secret)
	require.Error(t, err, "another task")
	secret[len(secret)-1] ^= 1
	_, err = key.Open(sealed.ForTask("i1", "t1"), secret)
	require.Error(t, err, "changed on the way")
}

func TestWhatIsNoKeyIsRefused(t *testing.T) {
	_, err := sealed.Parse([]byte("short"))
	require.Error(t, err)
	_, err = sealed.Seal([]byte("short"), nil, nil)
	require.Error(t, err)
}
