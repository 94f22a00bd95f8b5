package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/linuxguest/seedtest"
)

func onDisk(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestSeedIsRead(t *testing.T) {
	meta := "instance-id: i-1\nlocal-hostname: \"from-meta\"\n"
	for name, c := range map[string]struct {
		meta, user string
		want       seed
	}{
		"meta-data alone":      {meta, "", seed{instance: "i-1", hostname: "from-meta"}},
		"user-data wins":       {meta, "#cloud-config\nhostname: mine\n", seed{instance: "i-1", hostname: "mine", userData: "#cloud-config\nhostname: mine\n"}},
		"a script is not YAML": {meta, "#!/bin/sh\nhostname: no\n", seed{instance: "i-1", hostname: "from-meta", userData: "#!/bin/sh\nhostname: no\n"}},
		"deeper keys":          {"a:\n  hostname: no\n- hostname: no\n# hostname: no\n", "", seed{}},
		"longer than a sector": {meta, strings.Repeat("#", 5000), seed{instance: "i-1", hostname: "from-meta", userData: strings.Repeat("#", 5000)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := openSeed(onDisk(t, seedtest.Disk(c.meta, c.user)))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestOtherDisksAreNoSeed(t *testing.T) {
	other := bytes.ReplaceAll(seedtest.Disk("instance-id: i-1\n", ""), []byte("CIDATA"), []byte("OTHERS"))
	for name, content := range map[string][]byte{"empty": nil, "no file system": make([]byte, 1<<16), "another label": other} {
		t.Run(name, func(t *testing.T) {
			_, err := openSeed(onDisk(t, content))
			require.ErrorIs(t, err, errNoISO)
		})
	}
}

func TestPlainNamesAreFoundWhereThereIsNoJoliet(t *testing.T) {
	content := seedtest.Disk("instance-id: i-1\n", "")
	content = bytes.ReplaceAll(content, []byte("%/E"), []byte("   "))
	content = bytes.ReplaceAll(content, []byte("\x0bMETA_DAT.;1"), []byte("\x0bMETA-DATA;1"))
	d, err := openISO(bytes.NewReader(content))
	require.NoError(t, err)
	got, err := d.file("meta-data")
	require.NoError(t, err)
	require.Equal(t, "instance-id: i-1\n", got)
	_, err = d.file("user-data")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func FuzzISO(f *testing.F) {
	f.Add(seedtest.Disk("instance-id: i-1\n", "#cloud-config\n"))
	f.Fuzz(func(_ *testing.T, content []byte) {
		if d, err := openISO(bytes.NewReader(content)); err == nil {
			_, _ = d.file("meta-data") // whatever is on the disk, it must not end process 1
		}
	})
}
