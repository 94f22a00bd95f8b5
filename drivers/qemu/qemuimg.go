package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leasehold/vm"
)

// tool is the path of qemu-img. Formats are always named, never guessed.
type tool string

// The limits of a qemu-img that opens a file which a stranger has made.
const (
	toolMemory = 2 << 30
	toolCPU    = 60 // seconds; to look at a header takes milliseconds
)

// check has qemu-img itself say what the image is, as a second opinion after checkHeader.
func (t tool) check(ctx context.Context, path string, limit int64) error {
	var out bytes.Buffer
	cpu := unix.Rlimit{Cur: toolCPU, Max: toolCPU}
	err := t.run(ctx, &out, &cpu, "info", "--output=json", "-f", "qcow2", path)
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		return badImage("%v", err)
	}
	var info struct {
		VirtualSize int64           `json:"virtual-size"`
		Backing     json.RawMessage `json:"backing-filename"`
		Encrypted   bool            `json:"encrypted"`
		Specific    struct {
			Data struct {
				DataFile json.RawMessage `json:"data-file"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(out.Bytes(), &info); err != nil {
		return badImage("qemu-img says %q: %v", out.String(), err)
	}
	switch {
	case info.Backing != nil || info.Specific.Data.DataFile != nil:
		return badImage("it depends on another file")
	case info.Encrypted:
		return badImage("it is encrypted")
	case info.VirtualSize > limit:
		return badImage("its disk of %d bytes does not fit into %d bytes", info.VirtualSize, limit)
	}
	return nil
}

// wholly is all of it, in the unit of qemu-img's progress: hundredths of a percent.
const wholly = 100 * 100

// convert writes img as a new qcow2 file at path, and tells how much of wholly is done.
func (t tool) convert(ctx context.Context, img image, path string, moved func(done int64)) error {
	return t.run(ctx, &percents{moved: moved}, nil, "convert", "-p", "-f", img.format, "-O", "qcow2", img.path, path)
}

// create makes an empty qcow2 file at path.
func (t tool) create(ctx context.Context, path string, size vm.GiB) error {
	return t.run(ctx, io.Discard, nil, "create", "-q", "-f", "qcow2", path, strconv.FormatInt(int64(size), 10)+"G")
}

// resize grows the qcow2 file at path.
func (t tool) resize(ctx context.Context, path string, size vm.GiB) error {
	return t.run(ctx, io.Discard, nil, "resize", "-q", "-f", "qcow2", path, strconv.FormatInt(int64(size), 10)+"G")
}

// run executes qemu-img until it has ended, or is killed at the end of ctx. Output is read in the caller's goroutine.
func (t tool) run(ctx context.Context, out io.Writer, cpu *unix.Rlimit, args ...string) error {
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, string(t), args...)
	cmd.Stderr, cmd.WaitDelay = &complaint, 5*time.Second
	// It dies with us, so that a successor never meets a file that is still written to, or a disk that is still read. What
	// it dies with is the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot run qemu-img: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot run qemu-img: %w", err)
	}
	// Not yet waited for, so the number is its own. What it could do before the limits is nothing to speak of.
	memory := unix.Rlimit{Cur: toolMemory, Max: toolMemory}
	err = unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_AS, &memory, nil)
	if cpu != nil {
		err = errors.Join(err, unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CPU, cpu, nil))
	}
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	_, copied := io.Copy(out, stdout)
	waited := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("cannot end qemu-img %s: %w", args[0], context.Cause(ctx))
	case waited != nil:
		return fmt.Errorf("cannot %s the image: %s", args[0], strings.TrimSpace(complaint.String()+" "+waited.Error()))
	}
	return errors.Join(err, copied)
}

// percents reads qemu-img's progress, which looks like "    (12.34/100%)\r".
type percents struct {
	line  []byte
	last  int64
	told  time.Time
	moved func(hundredths int64)
}

func (p *percents) Write(b []byte) (int, error) {
	p.line = append(p.line, b...)
	for {
		line, rest, ok := bytes.Cut(p.line, []byte{'\r'})
		if !ok {
			return len(b), nil
		}
		p.line = rest
		var whole, part int64
		if _, err := fmt.Sscanf(string(bytes.TrimSpace(line)), "(%d.%d/100%%)", &whole, &part); err != nil {
			continue
		}
		if now := whole*100 + part; now > p.last && time.Since(p.told) >= meterEvery {
			p.last, p.told = now, time.Now()
			p.moved(now)
		}
	}
}
