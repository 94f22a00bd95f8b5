package main

import (
	"errors"
	"sync"
)

var errFrozen = errors.New("frozen")

// ice is whether the agent has frozen what would be file systems here: the writes of the serial line.
type ice struct {
	mu     sync.Mutex
	frozen bool
	count  int
}

// unlessFrozen runs write, which a freeze waits for.
func (i *ice) unlessFrozen(write func() error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.frozen {
		return errFrozen
	}
	return write()
}

// set freezes or thaws and says whether that changed anything.
func (i *ice) set(frozen bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	changed := i.frozen != frozen
	i.frozen = frozen
	if changed && frozen {
		i.count++
	}
	return changed
}

func (i *ice) status() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.frozen {
		return "frozen"
	}
	return "thawed"
}

func (i *ice) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count
}
