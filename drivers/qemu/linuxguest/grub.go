package linuxguest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// The places on the disk, in sectors.
const (
	sector      = 512
	coreAt      = 1
	kernelAt    = 2048
	coreSegment = 0x820 // where the first sector of the core loads the others to
)

// commandLine is the kernel's: quiet and without what costs time under emulation. After a panic that nobody has caught it
// reboots.
const commandLine = "console=ttyS0 quiet panic=-1 cryptomgr.notests nokaslr mitigations=off no_timer_check"

// grub is a folder with GRUB's packages in it.
type grub string

func (g grub) modules() string { return filepath.Join(string(g), "usr/lib/grub/i386-pc") }

// write makes a raw disk that boots by itself.
func (g grub) write(ctx context.Context, path string, kernel, initrd []byte) error {
	kernel, initrd = fill(kernel), fill(initrd)
	initrdAt := kernelAt + len(kernel)/sector
	core, err := g.core(ctx, fmt.Sprintf(
		"serial --unit=0 --speed=115200\nterminal_output serial\nlinux (hd0)%d+%d %s\ninitrd (hd0)%d+%d\nboot\n",
		kernelAt, len(kernel)/sector, commandLine, initrdAt, len(initrd)/sector))
	if err != nil {
		return err
	}
	boot, err := g.bootSector()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for at, content := range map[int][]byte{0: boot, coreAt: core, kernelAt: kernel, initrdAt: initrd} {
		_, failed := f.WriteAt(content, int64(at)*sector)
		err = errors.Join(err, failed)
	}
	const mib = 1 << 20
	size := int64(initrdAt*sector+len(initrd)+mib-1) / mib * mib
	return errors.Join(err, f.Truncate(size), f.Close())
}

// core is GRUB with a script in it. Its first sector loads the rest, and its last 12 bytes say from where: first sector
// (8 bytes), number of sectors (2), segment (2).
func (g grub) core(ctx context.Context, script string) ([]byte, error) {
	early, out := filepath.Join(string(g), "early.cfg"), filepath.Join(string(g), "core.img")
	if err := os.WriteFile(early, []byte(script), 0o600); err != nil {
		return nil, err
	}
	libraries := filepath.Join(string(g), "lib/x86_64-linux-gnu")
	_, err := run(ctx, string(g), "env", "LD_LIBRARY_PATH="+libraries, filepath.Join(string(g), "usr/bin/grub-mkimage"),
		"-O", "i386-pc", "-d", g.modules(), "-p", "/", "-c", early, "-o", out, "biosdisk", "linux", "serial", "terminal")
	if err != nil {
		return nil, err
	}
	core, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	core = fill(core)
	if coreAt+len(core)/sector > kernelAt {
		return nil, fmt.Errorf("cannot fit the %d bytes of GRUB's core before the kernel", len(core))
	}
	list := core[sector-12:]
	binary.LittleEndian.PutUint64(list, coreAt+1)
	binary.LittleEndian.PutUint16(list[8:], uint16(len(core)/sector-1))
	binary.LittleEndian.PutUint16(list[10:], coreSegment)
	return core, nil
}

// bootSector is GRUB's, told where the core is and to boot from the drive that the firmware names.
func (g grub) bootSector() ([]byte, error) {
	boot, err := os.ReadFile(filepath.Join(g.modules(), "boot.img"))
	if err != nil {
		return nil, err
	}
	if len(boot) < sector {
		return nil, fmt.Errorf("cannot use a boot sector of %d bytes", len(boot))
	}
	boot = boot[:sector]
	binary.LittleEndian.PutUint64(boot[0x5c:], coreAt)
	boot[0x64] = 0xff                     // any drive
	copy(boot[0x66:], []byte{0x90, 0x90}) // nothing in place of the check for floppy disks
	copy(boot[510:], []byte{0x55, 0xaa})
	return boot, nil
}

// fill makes b whole sectors.
func fill(b []byte) []byte {
	return append(slices.Clip(b), make([]byte, -len(b)&(sector-1))...)
}
