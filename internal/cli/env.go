package cli

import (
	"context"
	"errors"
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
	// Screen is the same for standard output.
	Screen func() (columns int)
	// Raw makes the terminal on standard input hand on each key as it is, until restore is called. Nil when standard
	// input is no terminal.
	Raw func() (restore func(), err error)
	// Secret reads a line from the terminal on standard input and shows nothing of it. It ends early, and the terminal is
	// as it was, when ctx does. Nil when standard input is no terminal.
	Secret func(ctx context.Context) (line string, err error)
}

// OS is the Env of this process.
func OS() Env {
	env := Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now}
	if dir, err := os.UserConfigDir(); err == nil {
		env.Config = filepath.Join(dir, "leasehold", "vmctl.yaml")
	}
	env.Terminal, env.Screen = columns(os.Stderr), columns(os.Stdout)
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		env.Raw = func() (func(), error) {
			state, err := term.MakeRaw(fd)
			if err != nil {
				return nil, err
			}
			return func() { _ = term.Restore(fd, state) }, nil
		}
		env.Secret = func(ctx context.Context) (string, error) { return secret(ctx, fd) }
	}
	return env
}

// columns tells how wide a terminal is; nil when f is none.
func columns(f *os.File) func() int {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return func() int {
		columns, _, err := term.GetSize(fd)
		if err != nil || columns <= 0 { // a serial line does not know
			return 80
		}
		return columns
	}
}

// secret is Env.Secret. A read cannot be broken off, so at Ctrl-C the terminal is restored while its goroutine still
// reads.
func secret(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type read struct {
		line []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		return string(r.line), r.err
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}
