package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	root := flag.String("root", ".", "the repository")
	check := flag.Bool("check", false, "write nothing, fail when a page is not current")
	flag.Parse()
	if err := run(filepath.Join(*root, "docs", "fsm"), *check); err != nil {
		fmt.Fprintln(os.Stderr, "fsmdoc:", err)
		os.Exit(1)
	}
}

// run brings dir to what the tables say, or says what differs. Pages that are current keep their time.
func run(dir string, check bool) error {
	made := pages()
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(made)) {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot compare: %w", err)
		}
		if err != nil || !bytes.Equal(have, []byte(made[name])) {
			stale = append(stale, name)
		}
	}
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("not current, run make generate: %s", strings.Join(stale, ", "))
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot write pages: %w", err)
	}
	for _, name := range stale {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(made[name]), 0o644); err != nil {
			return fmt.Errorf("cannot write %s: %w", name, err)
		}
		fmt.Println("wrote", name)
	}
	return nil
}
