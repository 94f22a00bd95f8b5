package linuxguest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
)

// wanted are the modules that the guest loads, with what they depend on: its disks and drives, its network, the port of
// its agent, the power button, and the devices that tell the host of a panic.
var wanted = []string{
	"virtio_pci", "virtio_blk", "virtio_scsi", "sr_mod", "virtio_net", "virtio_console", "button", "evdev", "pvpanic-mmio",
	"pvpanic-pci",
}

// unpackKernel reads kernel and modules, in the order of their needs, out of the downloaded package. Most of it is
// modules for other machines, so nothing is written.
func unpackKernel(ctx context.Context, work string) (image []byte, modules []module, err error) {
	deb, err := debOf(work, "linux-image-*")
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	files, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("cannot run dpkg-deb: %w", err)
	}
	image, all, err := readKernel(files)
	_, drained := io.Copy(io.Discard, files)
	if err := errors.Join(err, drained, cmd.Wait()); err != nil {
		return nil, nil, fmt.Errorf("cannot unpack the kernel: %w", err)
	}
	modules, err = order(all, wanted)
	return image, modules, err
}

// readKernel finds the kernel and all modules in the package's files.
func readKernel(files io.Reader) (image []byte, modules map[string][]byte, err error) {
	modules = map[string][]byte{}
	archive := tar.NewReader(files)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		dir, base := path.Split(h.Name)
		name, isModule := strings.CutSuffix(base, ".ko")
		isKernel := strings.HasSuffix(dir, "/boot/") && strings.HasPrefix(base, "vmlinuz-")
		if !isModule && !isKernel {
			continue
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			return nil, nil, err
		}
		if isKernel {
			image = b
		} else {
			modules[canonical(name)] = b
		}
	}
	if image == nil {
		return nil, nil, errors.New("there is no kernel in the package")
	}
	return image, modules, nil
}
