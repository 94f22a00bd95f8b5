package boot0_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/boot0"
)

func TestSectorIsWhatItsSourceAssemblesTo(t *testing.T) {
	sum := sha256.Sum256(boot0.Sector)
	require.Equal(t, "9af290926a42", hex.EncodeToString(sum[:6]), "after a change of boot0.S run go generate and put the new sum here")
}

func TestDiskBeginsWithABootSector(t *testing.T) {
	disk := boot0.Disk()
	require.Len(t, disk, boot0.DiskBytes)
	require.Equal(t, []byte{0x55, 0xaa}, disk[510:512])
	require.Equal(t, boot0.Sector, disk[:512])
}
