package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leasehold/vm"
)

// A machine's file is <id>.json. A file is written as .<name>.tmp first; an id never begins with a dot.
const (
	fileSuffix = ".json"
	tempSuffix = ".tmp"
)

// powers are the power states that a file may hold.
var powers = []vm.PowerState{
	vm.PowerNoState, vm.PowerRunning, vm.PowerPaused, vm.PowerShutdown, vm.PowerCrashed, vm.PowerSuspended,
}

func (d *Driver) file(id vm.InstanceID) string {
	return filepath.Join(d.machineDir(), string(id)+fileSuffix)
}

// usable says whether an id can be a file's name.
func usable(id string) bool {
	odd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c)
	}
	return id != "" && len(id) <= 128 && id[0] != '.' && !strings.ContainsFunc(id, odd)
}

// load fills the map from the files. What is no machine's file becomes an unknown machine; what a crash left unfinished
// was never true and is removed.
func (d *Driver) load() error {
	if err := errors.Join(sweep(d.machineDir()), sweep(d.copyDir())); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.machineDir())
	if err != nil {
		return fmt.Errorf("cannot list the machines: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		m := &machine{id: vm.InstanceID(strings.TrimSuffix(name, fileSuffix))}
		r, err := d.read(name)
		if err != nil {
			m.unknown = err.Error()
			d.cfg.Log.Warn("found something that is no machine", "file", name, "error", err)
		}
		m.rec.Store(r)
		d.machines[m.id] = m
	}
	return nil
}

// sweep removes what put has left unfinished.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot look for unfinished files: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, ".") && strings.HasSuffix(name, tempSuffix) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("cannot remove an unfinished file: %w", err)
			}
		}
	}
	return nil
}

// read is the record in the file called name, or why it is none.
func (d *Driver) read(name string) (*record, error) {
	id, ok := strings.CutSuffix(name, fileSuffix)
	if !ok {
		return nil, errors.New("not a machine's file")
	}
	text, err := os.ReadFile(filepath.Join(d.machineDir(), name))
	if err != nil {
		return nil, fmt.Errorf("cannot read the machine's file: %w", err)
	}
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("cannot understand the machine's file: %w", err)
	}
	if r.Schema != vm.Schema || string(r.Spec.ID) != id {
		return nil, fmt.Errorf("the file is of schema %d and machine %q", r.Schema, r.Spec.ID)
	}
	if !slices.Contains(powers, r.Power) {
		return nil, fmt.Errorf("the file has the unknown power state %q", r.Power)
	}
	r.size = len(text)
	if r.Made && r.Disk == "" { // a machine of the time when disks were not kept
		r.Disk = r.Disk.made(r.Spec, r.Spec.Image)
	}
	if r.faults, err = parseFaults(r.Spec.Metadata); err != nil {
		return nil, err
	}
	return r, nil
}

// keep makes r the machine's file, as a whole or not at all.
func (d *Driver) keep(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode the machine: %w", err)
	}
	if r.size > 0 && !d.cfg.Fsync {
		return d.overwrite(r, text)
	}
	r.size = len(text)
	if err := d.put(d.machineDir(), string(r.Spec.ID)+fileSuffix, text); err != nil {
		return fmt.Errorf("cannot keep the machine: %w", err)
	}
	return nil
}

// put makes text the file called name in dir, as a whole or not at all.
func (d *Driver) put(dir, name string, text []byte) error {
	temp := filepath.Join(dir, "."+name+tempSuffix)
	if err := d.write(temp, text); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return d.syncDir(dir)
}

// overwrite changes the file in place by one write that covers all of what was there, blanks behind the text. A process that
// dies has made that write or not; only a loss of power could tear it, and Fsync is for those who care. It spares the
// rename over an existing file, which is the most expensive thing a simulated host would do.
func (d *Driver) overwrite(r *record, text []byte) error {
	if blanks := r.size - len(text); blanks > 0 {
		text = append(text, bytes.Repeat([]byte{' '}, blanks)...)
	}
	f, err := os.OpenFile(d.file(r.Spec.ID), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot keep the machine: %w", err)
	}
	r.size = len(text)
	return nil
}

func (d *Driver) write(path string, text []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && d.cfg.Fsync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// forget removes the file called name in dir, if there is one.
func (d *Driver) forget(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.syncDir(dir)
}

func (d *Driver) syncDir(path string) error {
	if !d.cfg.Fsync {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
