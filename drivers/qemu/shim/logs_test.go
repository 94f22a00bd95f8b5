package shim_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/shim"
)

func TestTrimGivesSpaceBackAndKeepsTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer f.Close()
	var given int64
	for round := int64(1); round <= 3; round++ {
		_, err = f.Write(bytes.Repeat([]byte("0123456789abcdef"), 10<<16))
		require.NoError(t, err)
		given = shim.Trim(path, given)
		require.Equal(t, round*(10<<20)-(1<<20), given)
		require.Equal(t, given, shim.Trim(path, given), "there is nothing more to give")
	}
	var s syscall.Stat_t
	require.NoError(t, syscall.Stat(path, &s))
	require.EqualValues(t, 30<<20, s.Size, "neither writer nor reader notices")
	require.Less(t, s.Blocks*512, int64(2<<20))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte("0123456789abcdef"), 1<<16), b[29<<20:])
}
