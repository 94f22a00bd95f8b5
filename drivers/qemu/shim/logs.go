package shim

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"leasehold/drivers/qemu/folder"
)

const (
	// logKept is how much of the end of each log stays on disk, logSlack how much more before it is cut: a guest can
	// write its serial line for ever, and must not fill the host's disk with it.
	logKept  = 1 << 20
	logSlack = 7 << 20
	logEvery = 5 * time.Second
)

// trimLogs gives the space of the logs' beginnings back for as long as the process lives.
func (g *guard) trimLogs() {
	given := map[string]int64{}
	for range time.Tick(logEvery) {
		for _, name := range []string{folder.SerialLog, folder.QEMULog} {
			given[name] = trim(filepath.Join(g.dir, name), given[name])
		}
	}
}

// trim makes a hole from given to logKept before the end, and returns where the hole ends. The file's size stays, so
// that neither its writer nor its readers notice. Where the file system cannot do that, the log grows.
func trim(path string, given int64) int64 {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return given
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil || s.Size() < given+logKept+logSlack {
		return given
	}
	end := s.Size() - logKept
	if unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, given, end-given) != nil {
		return given
	}
	return end
}
