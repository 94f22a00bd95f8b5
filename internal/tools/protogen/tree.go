package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tree is what was generated: path in the repository to content.
type tree map[string][]byte

// write brings the repository to the generated state. Files that are current keep their time, so builds stay cached.
func (t tree) write(root string) error {
	stale, err := t.stale(root)
	if err != nil {
		return err
	}
	for _, name := range stale {
		path := filepath.Join(root, name)
		content, generated := t[name]
		if generated {
			fmt.Println("wrote", name)
			err = os.WriteFile(path, content, 0o644)
		} else {
			fmt.Println("removed", name)
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("cannot update %s: %w", name, err)
		}
	}
	return nil
}

// check fails with the names of the files that write would touch.
func (t tree) check(root string) error {
	stale, err := t.stale(root)
	if err != nil {
		return err
	}
	if len(stale) > 0 {
		return fmt.Errorf("not current, run make generate: %s", strings.Join(stale, ", "))
	}
	return nil
}

// stale lists, sorted, the files whose content is not the generated one, those that are missing, and generated ones
// that no proto makes any more.
func (t tree) stale(root string) ([]string, error) {
	stale := map[string]bool{}
	for name, want := range t {
		have, err := os.ReadFile(filepath.Join(root, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot compare: %w", err)
		}
		if err != nil || !bytes.Equal(have, want) {
			stale[name] = true
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "api"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !generated(entry.Name()) {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); t[name] == nil {
			stale[name] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for generated files: %w", err)
	}
	return slices.Sorted(maps.Keys(stale)), nil
}

// generated says whether a file in api/ is ours to remove.
func generated(name string) bool {
	return strings.HasSuffix(name, ".pb.go") || strings.HasSuffix(name, ".pb.gw.go") || name == "openapi.json"
}
