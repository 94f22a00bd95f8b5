package linuxguest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"leasehold/drivers/qemu/folder"
)

// layout changes when the same kernel and the same init would make another disk.
const layout = 1

// The names in a guest's folder.
const (
	diskName     = "disk.qcow2"
	manifestName = "MANIFEST"
)

// Ready and AgentReady are what the guest says when it begins to listen, and when its agent does.
const (
	Ready      = "GUEST-READY"
	AgentReady = "AGENT-READY"
)

// MemoryMiB is what the guest should have; with less than 96 MiB its kernel dies.
const MemoryMiB = 128

// Cache is where guests are kept: the folder of LEASEHOLD_GUEST_CACHE, or one in the user's own cache.
func Cache() (string, error) {
	if dir := os.Getenv("LEASEHOLD_GUEST_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a cache for guests: set LEASEHOLD_GUEST_CACHE: %w", err)
	}
	return filepath.Join(dir, "leasehold", "guests"), nil
}

// Disk returns the path of the guest's disk, a qcow2 file in cache, built first when it is not there. It must not be
// written to. It is called somewhere in the module's folders. Several processes may call it at once: one builds, the
// others wait. A build takes about ten seconds, and 30 MB from the package source.
func Disk(ctx context.Context, cache string) (string, error) {
	disk, err := build(ctx, cache)
	if err != nil {
		return "", fmt.Errorf("cannot build the Linux guest: %w", err)
	}
	return disk, nil
}

func build(ctx context.Context, cache string) (string, error) {
	work, err := os.MkdirTemp("", "linuxguest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	program, err := buildInit(ctx, work)
	if err != nil {
		return "", err
	}
	kernel, err := findKernel(ctx)
	if err != nil {
		return "", err
	}
	manifest := fmt.Sprintf("kernel %s %s\ninit sha256 %s\nlayout %d\n", kernel.name, kernel.version, digest(program), layout)
	dir := filepath.Join(cache, digest([]byte(manifest))[:16])
	disk := filepath.Join(dir, diskName)
	release, err := alone(ctx, cache)
	if err != nil {
		return "", err
	}
	defer release()
	if _, err := os.Stat(disk); err == nil {
		return disk, nil
	}
	part := folder.Part(dir)
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755)); err != nil {
		return "", err
	}
	if err := assemble(ctx, work, kernel, program, filepath.Join(part, diskName)); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	if err := os.WriteFile(filepath.Join(part, manifestName), []byte(manifest), 0o600); err != nil {
		return "", err
	}
	return disk, os.Rename(part, dir)
}

// alone waits until no other process builds in cache.
func alone(ctx context.Context, cache string) (release func(), err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	for {
		lock, err := folder.Acquire(cache)
		if err == nil {
			return func() { lock.Close() }, nil
		}
		if !errors.Is(err, folder.ErrHeld) {
			return nil, err
		}
		if err := folder.WaitFree(ctx, cache); err != nil {
			return nil, err
		}
	}
}

// assemble makes the disk in work and gives it its name.
func assemble(ctx context.Context, work string, kernel pack, program []byte, disk string) error {
	grub, err := fetch(ctx, work, kernel)
	if err != nil {
		return err
	}
	image, modules, err := unpackKernel(ctx, work)
	if err != nil {
		return err
	}
	ram, err := initrd(program, modules)
	if err != nil {
		return err
	}
	raw := filepath.Join(work, "disk.raw")
	if err := grub.write(ctx, raw, image, ram); err != nil {
		return err
	}
	_, err = run(ctx, work, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, disk)
	return err
}

// buildInit compiles the guest's only program, the same bytes each time.
func buildInit(ctx context.Context, work string) ([]byte, error) {
	path := filepath.Join(work, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=",
		"-o", path, "leasehold/drivers/qemu/linuxguest/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot compile init: %w: %s", err, out)
	}
	return os.ReadFile(path)
}

// run executes a program in dir and returns what it wrote.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cannot run %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(words.String()))
	}
	return string(out), nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
