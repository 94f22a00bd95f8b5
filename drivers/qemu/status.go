package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/qmp"
	"leasehold/drivers/qemu/shim"
	"leasehold/vm"
)

// status is a machine's power state with the word it was concluded from.
type status struct {
	power vm.PowerState
	word  string
}

// powers is what each of QEMU's run states means. A guest asleep (suspended) has its memory in QEMU, not on disk.
var powers = map[string]vm.PowerState{
	"running":        vm.PowerRunning,
	"prelaunch":      vm.PowerPaused,
	"paused":         vm.PowerPaused,
	"debug":          vm.PowerPaused,
	"suspended":      vm.PowerPaused,
	"watchdog":       vm.PowerPaused,
	"inmigrate":      vm.PowerPaused,
	"finish-migrate": vm.PowerPaused,
	"postmigrate":    vm.PowerPaused,
	"restore-vm":     vm.PowerPaused,
	"save-vm":        vm.PowerPaused,
	"shutdown":       vm.PowerShutdown,
	"guest-panicked": vm.PowerCrashed,
	"internal-error": vm.PowerCrashed,
	"io-error":       vm.PowerCrashed,
}

// statusOf a run state; a word that is not known cannot be interpreted.
func statusOf(word string) status {
	p, ok := powers[word]
	if !ok {
		p = vm.PowerNoState
	}
	return status{p, word}
}

// The words of machines without a process.
const (
	wordSaved      = "memory saved"
	wordNotStarted = "not started"
	wordLost       = "ended with its shim, or with the host"
)

// statusOff reads how a machine without a process has ended. Its lock is free, so the shim has said all it ever will.
func statusOff(dir string) status {
	if saved, err := folder.Has(dir, folder.Memory); err != nil {
		return status{vm.PowerNoState, err.Error()}
	} else if saved { // however its process ended
		return status{vm.PowerSuspended, wordSaved}
	}
	exit, err := shim.ReadExit(dir)
	switch {
	case err == nil && exit.Clean():
		return status{vm.PowerShutdown, exit.String()}
	case err == nil:
		return status{vm.PowerCrashed, exit.String()}
	case !errors.Is(err, fs.ErrNotExist):
		return status{vm.PowerNoState, err.Error()}
	}
	var l shim.Launch
	if errors.Is(folder.ReadJSON(dir, folder.Launch, &l), fs.ErrNotExist) {
		return status{vm.PowerShutdown, wordNotStarted}
	}
	return status{vm.PowerCrashed, wordLost}
}

// answerLimit is how long Inspect waits for a hypervisor.
const answerLimit = time.Second

var errSilent = errors.New("the hypervisor does not answer")

// status asks the hypervisor, over the monitor that no other call uses. Its error is the context's.
func (m *machine) status(ctx context.Context) (status, error) {
	ask, cancel := context.WithTimeoutCause(ctx, answerLimit, errSilent)
	defer cancel()
	for {
		word, err := m.side.word(ask)
		switch {
		case err == nil:
			return statusOf(word), nil
		case errors.Is(err, errOff):
			return statusOff(m.dir), nil
		case ctx.Err() != nil:
			return status{power: vm.PowerNoState}, fmt.Errorf("cannot inspect %s: %w", m.id, context.Cause(ctx))
		case ask.Err() != nil:
			return status{vm.PowerNoState, errSilent.Error()}, nil
		case !errors.Is(err, qmp.ErrClosed): // else it is ending, or was connected anew
			return status{vm.PowerNoState, err.Error()}, nil
		}
	}
}
