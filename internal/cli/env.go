package cli

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"
)

// Env is what the process gives to vmctl, so that tests can give something else.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Config   string // path of the configuration file where neither flag nor environment name one; it may be missing
	Now      func() time.Time

	// Terminal is standard error as a terminal: its width in columns. Nil when it is none.
	Terminal func() (columns int)
	// Raw makes the terminal on standard input hand on each key as it is, until restore is called. Nil when standard
	// input is no terminal.
	Raw func() (restore func(), err error)
}

// OS is the Env of this process.
func OS() Env {
	env := Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now}
	if dir, err := os.UserConfigDir(); err == nil {
		env.Config = filepath.Join(dir, "leasehold", "vmctl.yaml")
	}
	if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) {
		env.Terminal = func() int {
			columns, _, err := term.GetSize(fd)
			if err != nil {
				return 80
			}
			return columns
		}
	}
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		env.Raw = func() (func(), error) {
			state, err := term.MakeRaw(fd)
			if err != nil {
				return nil, err
			}
			return func() { _ = term.Restore(fd, state) }, nil
		}
	}
	return env
}
