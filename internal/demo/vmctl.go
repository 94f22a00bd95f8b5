package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// vmctl runs the command line that people use.
type vmctl struct {
	show    *show
	program string
	servers string
}

func (v *vmctl) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, v.program, args...)
	cmd.Env = append(os.Environ(), "LEASEHOLD_SERVER="+v.servers)
	return cmd
}

// typed is what the reader would type.
func (v *vmctl) typed(args ...string) string {
	return strings.Join(append([]string{filepath.Base(v.program)}, args...), " ")
}

// run shows a command and its answer, and fails with it.
func (v *vmctl) run(ctx context.Context, args ...string) error {
	v.show.command(v.typed(args...))
	out, err := v.command(ctx, args...).CombinedOutput()
	v.show.answer(string(out))
	if err != nil {
		return fmt.Errorf("cannot go on after %q: %w", v.typed(args...), err)
	}
	return nil
}

// ask runs a command that is not shown, for a check, and reads its answer.
func (v *vmctl) ask(ctx context.Context, into proto.Message, args ...string) error {
	var said bytes.Buffer
	cmd := v.command(ctx, append(args, "-o", "json")...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("cannot go on after %q: %w: %s", v.typed(args...), err, strings.TrimSpace(said.String()))
	}
	if err := protojson.Unmarshal(out, into); err != nil {
		return fmt.Errorf("cannot understand the answer to %q: %w", v.typed(args...), err)
	}
	return nil
}

// console types keys on the instance's serial line until the guest has said what is wanted, and returns that.
func (v *vmctl) console(ctx context.Context, instance, keys string, wanted *regexp.Regexp) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("the guest was silent for 30 s"))
	defer cancel()
	v.show.command(fmt.Sprintf("echo %s | %s", keys, v.typed("instance", "console", instance)))
	cmd := v.command(ctx, "instance", "console", instance)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("cannot start vmctl: %w", err)
	}
	typing := make(chan struct{})
	go func() {
		defer close(typing)
		again := time.NewTicker(time.Second) // a guest that is still starting hears nothing
		defer again.Stop()
		for ctx.Err() == nil {
			if _, err := io.WriteString(in, keys); err != nil {
				return
			}
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	}()
	said := hear(out, wanted)
	why := context.Cause(ctx)
	cancel()
	<-typing
	_ = cmd.Wait() // it was interrupted
	if said == "" {
		return "", fmt.Errorf("cannot hear the guest: %w: %s", errors.Join(why, io.ErrUnexpectedEOF),
			strings.TrimSpace(complaint.String()))
	}
	v.show.answer(said)
	return said, nil
}

// hear reads until what is wanted was said; "" when the line ended before.
func hear(line io.Reader, wanted *regexp.Regexp) string {
	var heard []byte
	piece := make([]byte, 512)
	for {
		n, err := line.Read(piece)
		heard = append(heard, piece[:n]...)
		if said := wanted.Find(heard); said != nil {
			return string(said)
		}
		if err != nil {
			return ""
		}
	}
}
