package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// leaks lists what a machine may have left on this machine: processes that speak of dir, and files below it that belong
// to a machine. Caches and what an empty host has are none.
func leaks(dir string) ([]string, error) {
	found, err := processes(filepath.Join(dir, "compute"))
	if err != nil {
		return nil, err
	}
	for _, place := range []string{"qemu/*", "sim/machines/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, "compute", "*", place))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if !strings.HasPrefix(filepath.Base(path), ".") {
				found = append(found, "file "+path)
			}
		}
	}
	return found, nil
}

// processes lists shims and hypervisors whose command line or working directory lies in dir.
func processes(dir string) ([]string, error) {
	all, err := fs.Glob(os.DirFS("/proc"), "[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, pid := range all {
		line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		if err != nil {
			continue // it has just ended
		}
		wd, _ := os.Readlink(filepath.Join("/proc", pid, "cwd"))
		words := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		if len(words) > 1 && words[1] == "serve" {
			continue // the agent itself
		}
		if strings.HasPrefix(wd, dir) || strings.Contains(string(line), dir) {
			found = append(found, fmt.Sprintf("process %s: %s", pid, strings.Join(words, " ")))
		}
	}
	return found, nil
}
