// Package boot0 is a guest of 512 bytes: a boot sector that lives without any system, for tests of real hypervisors.
//
// It says BOOT0-READY on the serial line and obeys one key at a time, within a tick of 55 ms:
//
//	c  prints its counter, 8 hexadecimal digits, which grows 18 times a second
//	h  prints it at every tick, until the next h
//	w  writes it to the disk's second sector; d reads it back and prints it
//	i  ignores the power button, until the next i
//	r  reboots; p powers off; x panics
//
// It obeys the ACPI power button by saying PWRBTN and powering off.
package boot0

import (
	_ "embed" // the sector
	"slices"
)

//go:generate sh -c "as --32 boot0.S -o boot0.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o boot0.img boot0.o && rm boot0.o"

// Sector is the boot sector, assembled from boot0.S.
//
//go:embed boot0.img
var Sector []byte

// Ready is what the guest says when it begins to listen.
const Ready = "BOOT0-READY"

// DiskBytes is the size of the raw disk made of the sector and zeros.
const DiskBytes = 1 << 20

// Disk is the content of the raw disk.
func Disk() []byte {
	return append(slices.Clip(Sector), make([]byte, DiskBytes-len(Sector))...)
}
