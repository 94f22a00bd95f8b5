package shim

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"leasehold/drivers/qemu/folder"
)

// Exit says how a hypervisor's process ended. It is the content of exit.json.
type Exit struct {
	Code   int       `json:"code"`             // of a process that ended by itself
	Signal int       `json:"signal,omitempty"` // that ended it
	Asked  Why       `json:"asked,omitempty"`  // who had it killed; empty when nobody did
	Error  string    `json:"error,omitempty"`  // why there was no process at all
	At     time.Time `json:"at"`
}

// Why is the reason that is given to Kill.
type Why string

// The reasons to kill a hypervisor.
const (
	Stop       Why = "stop"       // power off, for whoever has the right to
	Interrupt  Why = "interrupt"  // it did not answer
	Terminated Why = "terminated" // the shim got SIGTERM: the host goes down
)

// Clean says that the machine ended as somebody wanted: by its own exit without complaint, or by a stop.
func (e Exit) Clean() bool {
	return e.Asked == Stop || e.Error == "" && e.Signal == 0 && e.Code == 0
}

// String is one or two words for people.
func (e Exit) String() string {
	word := fmt.Sprintf("exit status %d", e.Code)
	switch {
	case e.Error != "":
		word = e.Error
	case e.Signal != 0:
		word = fmt.Sprintf("signal %d", e.Signal)
	}
	if e.Asked != "" {
		word += fmt.Sprintf(" (%s)", e.Asked)
	}
	return word
}

// ReadExit reads exit.json; fs.ErrNotExist when nobody wrote it.
func ReadExit(dir string) (Exit, error) {
	var e Exit
	err := folder.ReadJSON(dir, folder.Exit, &e)
	return e, err
}

// WriteExit replaces exit.json. The caller holds the lock of dir, or has seen it free and is the only one to act.
func WriteExit(dir string, e Exit) error {
	return folder.WriteJSON(dir, folder.Exit, e)
}

func exitOf(p *os.ProcessState) Exit {
	e := Exit{At: time.Now().UTC()}
	if w, ok := p.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		e.Signal = int(w.Signal())
		return e
	}
	e.Code = p.ExitCode()
	return e
}
