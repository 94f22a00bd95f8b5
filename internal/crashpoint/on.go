//go:build crashpoints

package crashpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Hook is what to call at each point; nil when nobody listens.
func Hook() func(point string) {
	dir := os.Getenv("LEASEHOLD_CRASH_DIR")
	if dir == "" {
		return nil
	}
	return func(point string) {
		if err := pass(dir, point); err != nil {
			panic(fmt.Sprintf("cannot pass crash point %s: %v", point, err))
		}
	}
}

func pass(dir, point string) error {
	f, err := os.OpenFile(filepath.Join(dir, "passed"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, point)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, "armed"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	armed, number, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	nth, err := strconv.Atoi(number)
	if armed != point || err != nil {
		return nil
	}
	for k := 1; ; k++ {
		hit, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("hit%d", k)), os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_ = hit.Close()
		if k == nth {
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		return nil
	}
}
