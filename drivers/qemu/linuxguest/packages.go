package linuxguest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// pack is a package of one version.
type pack struct{ name, version string }

// metaPackage depends on the newest cloud kernel.
const metaPackage = "linux-image-cloud-amd64"

// bootPackages hold GRUB, and a library that its tool needs and a small system may not have.
var bootPackages = []string{"grub-pc-bin", "grub-common", "libdevmapper1.02.1"}

// advice is what to say where the packages cannot be had.
const advice = "it is made of packages of Debian 12, so it needs apt-get with a package source, and an index of it: " +
	"run apt-get update as root"

var kernelOfMeta = regexp.MustCompile(`(?m)^Depends: (linux-image-[^ ,]+) \(= ([^ )]+)\)`)

// findKernel asks the package index which kernel is the newest.
func findKernel(ctx context.Context) (pack, error) {
	var found pack
	err := withIndex(ctx, func() error {
		text, err := run(ctx, "", "apt-cache", "show", "--no-all-versions", metaPackage)
		if err != nil {
			return err
		}
		m := kernelOfMeta.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("cannot find a kernel in what %s depends on", metaPackage)
		}
		found = pack{m[1], m[2]}
		return nil
	})
	return found, err
}

// fetch downloads all packages into work and unpacks GRUB there.
func fetch(ctx context.Context, work string, kernel pack) (grub, error) {
	err := withIndex(ctx, func() error {
		args := append([]string{"download", "-q", kernel.name + "=" + kernel.version}, bootPackages...)
		_, err := run(ctx, work, "apt-get", args...)
		return err
	})
	if err != nil {
		return "", err
	}
	root := filepath.Join(work, "grub")
	for _, name := range bootPackages {
		deb, err := debOf(work, name)
		if err != nil {
			return "", err
		}
		if _, err := run(ctx, work, "dpkg-deb", "-x", deb, root); err != nil {
			return "", err
		}
	}
	return grub(root), nil
}

// withIndex does what needs the package index, once more with a new index where that may help: a fresh system has none,
// and an old one names versions that are gone.
func withIndex(ctx context.Context, do func() error) error {
	err := do()
	if err == nil || ctx.Err() != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if _, update := run(ctx, "", "apt-get", "update", "-q"); update != nil {
			err = errors.Join(err, update)
		} else if err = do(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", advice, err)
}

// debOf is the downloaded file of a package. Names have the version in them, with signs that apt has changed.
func debOf(work, name string) (string, error) {
	found, err := filepath.Glob(filepath.Join(work, name+"_*.deb"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("cannot find the downloaded %s: there are %d of it", name, len(found))
	}
	return found[0], nil
}
