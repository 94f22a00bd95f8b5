package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// definition is the content of spec.json: what was asked for, and what was chosen when the machine was made and must
// stay as long as it lives.
type definition struct {
	Schema  int          `json:"schema"`
	Machine string       `json:"machine"` // versioned: the guest's hardware does not change when QEMU is upgraded
	Spec    drivers.Spec `json:"spec"`
}

const schema = 1

// made says how much of a machine is in its folder.
type made int

const (
	nothing made = iota
	half         // Prepare or Destroy was cut short
	whole
	alien // something that this driver cannot read, and will not touch
)

// errAlien refuses what would have to guess.
var errAlien = errors.New("its folder holds something that this driver cannot read; look at it and remove it by hand")

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// folderOf is the machine's folder; an error when id cannot be the name of one.
func (d *Driver) folderOf(id vm.InstanceID) (string, error) {
	if id == "" || strings.HasPrefix(string(id), ".") || strings.ContainsAny(string(id), "/\x00") {
		return "", fmt.Errorf("cannot use %q as the name of a machine", id)
	}
	return filepath.Join(d.cfg.Dir, string(id)), nil
}

// look tells what is in a machine's folder, with its definition when that can be read.
func look(dir string) (made, definition) {
	var def definition
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, def
	}
	if err != nil {
		return alien, def
	}
	err = folder.ReadJSON(dir, folder.Spec, &def)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for _, e := range entries {
			if e.Name() != folder.Part(folder.Spec) {
				return alien, def
			}
		}
		return half, def
	case err != nil, def.Schema != schema, string(def.Spec.ID) != filepath.Base(dir):
		return alien, def
	}
	if _, err := os.Lstat(filepath.Join(dir, folder.Disk)); err != nil {
		return half, def
	}
	return whole, def
}

// sweep removes the disks that a predecessor was making beside the machine's own.
func (m *machine) sweep() {
	for _, name := range []string{folder.Disk, folder.RescueDisk} {
		if err := folder.Remove(m.dir, folder.Part(name)); err != nil {
			m.d.log.Warn("cannot remove a half-made disk", "instance", m.id, "error", err)
		}
	}
}

// checkSpec refuses what no machine can be made of.
func checkSpec(s drivers.Spec) error {
	switch {
	case !idPattern.MatchString(string(s.ID)):
		return fmt.Errorf("cannot use %q as the id of a machine", s.ID)
	case s.Size.VCPUs < 1 || s.Size.MemoryMiB < 1 || s.Size.DiskGiB < 1:
		return fmt.Errorf("cannot make %s with %d vCPUs, %d MiB and %d GiB: each must be at least 1",
			s.ID, s.Size.VCPUs, s.Size.MemoryMiB, s.Size.DiskGiB)
	}
	return nil
}
