package agent

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"leasehold/vm"
)

// book is the agent's memory on disk. Reading and changing it is quick; commit waits until a change is durable, and
// whoever waits at the same time shares one write and one sync.
//
//	recorded   number of changes made
//	durable    number of changes on disk; durable <= recorded
//
// A change counts at once, for refusals: a caller refused by a number that a crash then forgets was replaced all the
// same. It is acknowledged only when durable (A1).
type book struct {
	point  func(string)
	broken chan struct{} // closed when the disk failed: from then on nothing is acknowledged

	mu       sync.Mutex
	flushed  sync.Cond
	memory   memory
	journal  *journal
	pending  []entry
	recorded int64
	durable  int64
	flushing bool
	failure  error
	syncs    int64
	limit    int64 // size at which the journal is written anew
	least    int64 // the least such size
}

// compactAt is the least size at which a journal is replaced by a snapshot; later, when it has doubled. So the cost of a
// snapshot is spread over as many bytes of steps.
const compactAt = 1 << 20

func openBook(cfg Config, point func(string), log hclog.Logger) (*book, error) {
	b := &book{point: point, broken: make(chan struct{}), least: cfg.JournalLimit}
	if b.least == 0 {
		b.least = compactAt
	}
	b.flushed.L = &b.mu
	path := filepath.Join(cfg.DataDir, "journal")
	j, torn, err := openJournal(path, b.replay)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A directory that lost its journal has lost its fences: it gets a new identity, which forces a new epoch.
		if j, err = b.create(path); err != nil {
			return nil, err
		}
		log.Info("made a new data directory", "data_dir_id", b.memory.ID)
	case err != nil:
		return nil, err
	case torn > 0:
		log.Warn("dropped a record that was cut short and never acknowledged", "bytes", torn)
	}
	b.journal = j
	b.limit = max(b.least, 2*j.size)
	if err := b.commit("process", b.write(entry{Process: b.memory.Process + 1})); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return b, nil
}

func (b *book) create(path string) (*journal, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	b.memory = newMemory(hex.EncodeToString(id))
	first, err := b.memory.snapshot()
	if err != nil {
		return nil, fmt.Errorf("cannot write a new journal: %w", err)
	}
	return createJournal(path, first)
}

func (b *book) replay(payload []byte) error {
	// What a newer agent wrote is refused rather than half understood (A6).
	var entries []entry
	read := json.NewDecoder(bytes.NewReader(payload))
	read.DisallowUnknownFields()
	if err := read.Decode(&entries); err != nil {
		return err
	}
	for _, e := range entries {
		b.memory.apply(e)
	}
	return nil
}

// record changes the memory and returns the number to commit. b.mu is held.
func (b *book) record(e entry) int64 {
	b.memory.apply(e)
	b.pending = append(b.pending, e)
	b.recorded++
	return b.recorded
}

func (b *book) write(e entry) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.record(e)
}

// commit returns nil when the first n changes are on disk. What names the change for the crash points.
func (b *book) commit(what string, n int64) error {
	b.point("journal:before:" + what)
	err := b.wait(n)
	if err == nil {
		b.point("journal:after:" + what)
	}
	return err
}

func (b *book) wait(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.durable < n { // mutant:sync-before-ack
		switch {
		case b.failure != nil:
			return b.failure
		case b.flushing:
			b.flushed.Wait()
		default:
			b.flush()
		}
	}
	return nil
}

// flush writes all pending changes as one frame, for everybody who waits. b.mu is held, but not during the write.
func (b *book) flush() {
	compact := b.journal.size > b.limit
	upto := b.recorded
	payload, err := b.payload(compact)
	b.pending, b.flushing = nil, true
	b.mu.Unlock()

	b.point("journal:before:sync")
	switch {
	case err != nil:
		err = fmt.Errorf("cannot encode the journal: %w", err)
	case compact:
		err = b.journal.replace(payload)
	default:
		err = b.journal.append(payload)
	}
	if err == nil {
		b.point("journal:after:sync")
	}

	b.mu.Lock()
	b.flushing = false
	b.syncs++
	switch {
	case err != nil && b.failure == nil:
		b.failure = err
		close(b.broken)
	case err == nil:
		b.durable = upto
		if compact {
			b.limit = max(b.least, 2*b.journal.size)
		}
	}
	b.flushed.Broadcast()
}

// payload is the pending changes, or the whole memory, which contains them.
func (b *book) payload(compact bool) ([]byte, error) {
	if !compact {
		return json.Marshal(b.pending)
	}
	b.memory.forget(time.Now())
	return b.memory.snapshot()
}

// facts is what an observation says of the instance beside the hypervisor's word.
func (b *book) facts(id vm.InstanceID) (fence vm.Fence, deleted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, deleted = b.memory.Tombstones[id]
	return b.memory.fence(instance(id)), deleted
}

func (b *book) steps(id vm.InstanceID) []stepRecord {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.memory.Steps[id])
}

// buriedUnder says whether the instance has a tombstone with that fence or a higher one, and what to commit before anybody
// is told.
func (b *book) buriedUnder(id vm.InstanceID, f vm.Fence) (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, deleted := b.memory.Tombstones[id]
	return b.recorded, deleted && t.Fence.Compare(f) >= 0
}

// identity is the id of the data directory, and the last epoch that was given to it.
func (b *book) identity() (id string, epoch int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.memory.ID, b.memory.Epoch
}

func (b *book) syncCount() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.syncs
}

// lost is why the disk failed, after broken was closed.
func (b *book) lost() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

func (b *book) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.flushing {
		b.flushed.Wait()
	}
	if b.failure == nil {
		b.failure = errors.New("cannot write the journal: it is closed")
	}
	return b.journal.close()
}
