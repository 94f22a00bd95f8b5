package linuxguest_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/linuxguest"
)

// module makes the least of an ELF file that says what it depends on.
func module(t *testing.T, depends string) []byte {
	t.Helper()
	info, names := "license=GPL\x00depends="+depends+"\x00name=x\x00", "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	sectionsAt := uint64(header + len(info) + len(names))
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: header,
		Shoff: sectionsAt, Shentsize: section, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	for _, part := range []any{
		h, []byte(info), []byte(names),
		elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: header, Size: uint64(len(info))},
		elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(header + len(info)), Size: uint64(len(names))},
	} {
		require.NoError(t, binary.Write(&b, binary.LittleEndian, part))
	}
	return b.Bytes()
}

func TestModulesComeBehindWhatTheyNeed(t *testing.T) {
	all := map[string][]byte{
		"net_card": module(t, "failover,ring"), "failover": module(t, "core"), "ring": module(t, ""), "core": module(t, "ring"),
		"unwanted": module(t, "ring"),
	}
	got, err := linuxguest.Order(all, []string{"net-card", "ring"})
	require.NoError(t, err)
	require.Equal(t, []string{"ring", "core", "failover", "net_card"}, got, "- and _ are the same, and each comes once")
}

func TestMissingModuleIsNamed(t *testing.T) {
	_, err := linuxguest.Order(map[string][]byte{"a": module(t, "b")}, []string{"a"})
	require.EqualError(t, err, "cannot find the module b in the kernel's package")
	_, err = linuxguest.Order(map[string][]byte{"a": []byte("no ELF")}, []string{"a"})
	require.ErrorContains(t, err, "cannot read the module a")
}
