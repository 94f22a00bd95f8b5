package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is the folder of all machines' groups.
type Tree string

// Find returns the tree under the first cgroup2 mount of /proc/mounts, made if need be; false when there is none that
// can be used.
func Find() (Tree, bool) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		t := filepath.Join(f[1], "leasehold")
		if os.MkdirAll(t, 0o755) != nil {
			continue
		}
		if f, err := os.OpenFile(filepath.Join(t, "cgroup.kill"), os.O_WRONLY, 0); err == nil { // Linux 5.14
			f.Close()
			return Tree(t), true
		}
	}
	return "", false
}

// Group is one machine's cgroup; the empty one does nothing.
type Group string

// Group names a machine's group without making it.
func (t Tree) Group(name string) Group {
	if t == "" {
		return ""
	}
	return Group(filepath.Join(string(t), name))
}

// Qemu is the part of the group that holds the hypervisor alone.
func (g Group) Qemu() Group {
	if g == "" {
		return ""
	}
	return g + "/qemu"
}

// Create makes the group and its parts.
func (g Group) Create() error {
	if g == "" {
		return nil
	}
	if err := os.MkdirAll(string(g.Qemu()), 0o755); err != nil {
		return fmt.Errorf("cannot make a cgroup: %w", err)
	}
	return nil
}

// Enter moves the calling process into the group; what it starts from now on begins its life there. To start a process
// right inside a group (CLONE_INTO_CGROUP) is no way: some kernels kill it at birth when the group was ever killed.
func (g Group) Enter() error {
	if g == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(string(g), "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("cannot enter the cgroup: %w", err)
	}
	return nil
}

// Kill ends every process of the group and returns nil when none is left (P2). A group that is not there is empty.
func (g Group) Kill(ctx context.Context) error {
	if g == "" {
		return nil
	}
	err := os.WriteFile(filepath.Join(string(g), "cgroup.kill"), []byte("1"), 0)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot kill the cgroup: %w", err)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		alive, err := g.populated()
		if err != nil || !alive {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the end of a cgroup: %w", context.Cause(ctx))
		}
	}
}

func (g Group) populated() (bool, error) {
	b, err := os.ReadFile(filepath.Join(string(g), "cgroup.events"))
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot ask the cgroup: %w", err)
	}
	return bytes.Contains(b, []byte("populated 1")), nil
}

// Remove deletes the empty group; nil when there is nothing.
func (g Group) Remove() error {
	if g == "" {
		return nil
	}
	for _, dir := range []Group{g.Qemu(), g} {
		if err := os.Remove(string(dir)); !gone(err) && err != nil {
			return fmt.Errorf("cannot remove the cgroup: %w", err)
		}
	}
	return nil
}

// gone says that a group vanished, before its file was opened or after.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
