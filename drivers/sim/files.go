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

// A machine's file is <id>.json. It is written as .<id>.tmp first; an id never begins with a dot.
const (
	fileSuffix = ".json"
	tempSuffix = ".tmp"
)

// powers are the power states that a file may hold.
var powers = []vm.PowerState{vm.PowerNoState, vm.PowerRunning, vm.PowerPaused, vm.PowerShutdown, vm.PowerCrashed, vm.PowerSuspended}

func (d *Driver) file(id vm.InstanceID) string {
	return filepath.Join(d.machineDir(), string(id)+fileSuffix)
}

// load fills the map from the files. What is no machine's file becomes an unknown machine; what a crash left unfinished
// was never true and is removed.
func (d *Driver) load() error {
	entries, err := os.ReadDir(d.machineDir())
	if err != nil {
		return fmt.Errorf("cannot list the machines: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") && strings.HasSuffix(name, tempSuffix) {
			if err := os.Remove(filepath.Join(d.machineDir(), name)); err != nil {
				return fmt.Errorf("cannot remove an unfinished file: %w", err)
			}
			continue
		}
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
	temp := filepath.Join(d.machineDir(), "."+string(r.Spec.ID)+tempSuffix)
	if err := d.write(temp, text); err != nil {
		return fmt.Errorf("cannot keep the machine: %w", err)
	}
	if err := os.Rename(temp, d.file(r.Spec.ID)); err != nil {
		return fmt.Errorf("cannot keep the machine: %w", err)
	}
	return d.syncDir()
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

// forget removes the machine's file.
func (d *Driver) forget(id vm.InstanceID) error {
	if err := os.Remove(d.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the machine: %w", err)
	}
	return d.syncDir()
}

func (d *Driver) syncDir() error {
	if !d.cfg.Fsync {
		return nil
	}
	dir, err := os.Open(d.machineDir())
	if err != nil {
		return fmt.Errorf("cannot sync the machines: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
