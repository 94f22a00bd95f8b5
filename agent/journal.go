package agent

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// journal is an append-only file of frames. A frame is one line, readable as text:
//
//	<crc32c of the payload, 8 hex digits> <length of the payload> <payload, JSON without line breaks>
//
// One write is one frame, and the next is begun only when the last is synced. So a crash can damage the last frame and no
// other; a damaged frame with a good one behind it is not a crash, and the file is refused (A6).
//
// It is used by one goroutine at a time.
type journal struct {
	path string
	file *os.File
	size int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal reads every frame into replay and returns the journal, ready for more, and how many bytes of a frame that
// was cut short it dropped. A missing file is fs.ErrNotExist: createJournal makes one.
func openJournal(path string, replay func(payload []byte) error) (*journal, int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the journal: %w", err)
	}
	good := 0
	for good < len(data) {
		payload, n := parseFrame(data[good:])
		if n == 0 {
			break
		}
		if err := replay(payload); err != nil {
			return nil, 0, fmt.Errorf("cannot read the journal %s at byte %d: %w", path, good, err)
		}
		good += n
	}
	if good == 0 {
		// createJournal renames a synced file into place, so the first frame cannot be one that was cut short.
		return nil, 0, fmt.Errorf("cannot use the journal %s: it does not begin with a good frame", path)
	}
	if at := goodFrameIn(data[good:]); at >= 0 {
		return nil, 0, fmt.Errorf("cannot use the journal %s: damaged at byte %d, with good records from byte %d on",
			path, good, good+at)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open the journal: %w", err)
	}
	j := &journal{path: path, file: f, size: int64(good)}
	torn := len(data) - good
	if torn > 0 {
		if err := errors.Join(f.Truncate(j.size), f.Sync()); err != nil {
			return nil, 0, errors.Join(fmt.Errorf("cannot cut the journal's torn end: %w", err), f.Close())
		}
	}
	return j, torn, nil
}

// createJournal makes a journal that begins with payload. One that exists is replaced.
func createJournal(path string, payload []byte) (*journal, error) {
	j := &journal{path: path}
	return j, j.replace(payload)
}

// append writes one frame and syncs it. After an error nothing is known about what reached the disk, and syncing again
// would prove nothing: the journal must not be used any more.
func (j *journal) append(payload []byte) error {
	frame := formatFrame(payload)
	if _, err := j.file.WriteAt(frame, j.size); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("cannot sync the journal: %w", err)
	}
	j.size += int64(len(frame))
	return nil
}

// replace puts a journal with one frame in the place of this one, in one step: a crash leaves the old one or the new.
func (j *journal) replace(payload []byte) error {
	frame := formatFrame(payload)
	next := j.path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot begin a new journal: %w", err)
	}
	_, err = f.Write(frame)
	err = errors.Join(err, f.Sync())
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot write a new journal: %w", err), f.Close())
	}
	old := j.file
	j.file, j.size = f, int64(len(frame))
	if old != nil {
		return old.Close()
	}
	return nil
}

func (j *journal) close() error {
	if err := j.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("cannot close the journal: %w", err)
	}
	return nil
}

func formatFrame(payload []byte) []byte {
	frame := make([]byte, 0, len(payload)+24)
	frame = fmt.Appendf(frame, "%08x %d ", crc32.Checksum(payload, castagnoli), len(payload))
	frame = append(frame, payload...)
	return append(frame, '\n')
}

// parseFrame reads the frame at the beginning of data and says how long it is: 0 when there is no good one.
func parseFrame(data []byte) ([]byte, int) {
	const digits = 20 // of the largest length
	head := data[:min(len(data), 9+digits+1)]
	sum, rest, ok := bytes.Cut(head, []byte{' '})
	if !ok || len(sum) != 8 {
		return nil, 0
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil {
		return nil, 0
	}
	length, _, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return nil, 0
	}
	n, err := strconv.Atoi(string(length))
	begin := 9 + len(length) + 1
	if err != nil || n < 0 || n > len(data)-begin-1 || data[begin+n] != '\n' {
		return nil, 0
	}
	payload := data[begin : begin+n]
	if crc32.Checksum(payload, castagnoli) != uint32(want) {
		return nil, 0
	}
	return payload, begin + n + 1
}

// goodFrameIn looks for a good frame after the damage at the beginning of data: where it begins, or -1.
func goodFrameIn(data []byte) int {
	for at := 0; ; {
		next := bytes.IndexByte(data[at:], '\n')
		if next < 0 {
			return -1
		}
		at += next + 1
		if _, n := parseFrame(data[at:]); n > 0 {
			return at
		}
	}
}
