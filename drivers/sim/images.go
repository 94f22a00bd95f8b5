package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"leasehold/drivers"
	"leasehold/vm"
)

// A copy of a disk is a file called after the image that it is for. It becomes that image by moving to the other folder,
// as a whole.
func (d *Driver) copyDir() string  { return filepath.Join(d.cfg.Dir, "copies") }
func (d *Driver) imageDir() string { return filepath.Join(d.cfg.Dir, "images") }

func (d *Driver) copyFile(id vm.ImageID) string  { return filepath.Join(d.copyDir(), string(id)) }
func (d *Driver) imageFile(id vm.ImageID) string { return filepath.Join(d.imageDir(), string(id)) }

// Snapshot copies the machine's own disk as it is when the call begins, also of a rescued machine. A guest does not
// notice.
func (d *Driver) Snapshot(
	ctx context.Context, id vm.InstanceID, image vm.ImageID, report drivers.Report,
) error {
	return d.run(ctx, "snapshot", id, report, func(ctx context.Context, c *call) error {
		m, r, err := c.made()
		if err != nil {
			return err
		}
		if err := checkImage(image); err != nil {
			return err
		}
		if isFile(d.copyFile(image)) || isFile(d.imageFile(image)) {
			return nil
		}
		if err := c.step(ctx, m, r.faults, "snapshot"); err != nil {
			return err
		}
		return d.changeImage(ctx, m, "snapshot", func() error {
			return d.put(d.copyDir(), string(image), []byte(r.Disk))
		})
	})
}

// Export makes the copy the image. The format is raw: the text is all there is.
func (d *Driver) Export(
	ctx context.Context, id vm.InstanceID, image vm.ImageID, report drivers.Report,
) (drivers.ImageFile, error) {
	file := drivers.ImageFile{ID: image, Format: "raw"}
	err := d.run(ctx, "export", id, report, func(ctx context.Context, c *call) error {
		m, r, err := c.made()
		if err != nil {
			return err
		}
		if err := checkImage(image); err != nil {
			return err
		}
		if !isFile(d.imageFile(image)) {
			if !isFile(d.copyFile(image)) {
				return drivers.ErrNoImage
			}
			if err := c.step(ctx, m, r.faults, "upload"); err != nil {
				return err
			}
			if err := d.changeImage(ctx, m, "export", func() error { return d.publish(image) }); err != nil {
				return err
			}
		}
		text, err := os.ReadFile(d.imageFile(image))
		sum := sha256.Sum256(text)
		file.SizeBytes, file.SHA256 = int64(len(text)), hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		return drivers.ImageFile{}, err
	}
	return file, nil
}

// publish moves the copy to the images.
func (d *Driver) publish(image vm.ImageID) error {
	err := os.Rename(d.copyFile(image), d.imageFile(image))
	if errors.Is(err, fs.ErrNotExist) {
		return drivers.ErrNoImage // dropped meanwhile
	}
	return errors.Join(err, d.syncDir(d.imageDir()), d.syncDir(d.copyDir()))
}

// made is the machine of a call, which must be whole.
func (c *call) made() (*machine, record, error) {
	m := c.d.find(c.id)
	if m == nil {
		return nil, record{}, drivers.ErrNoMachine
	}
	r, err := m.copied()
	if err == nil && !r.Made {
		err = drivers.ErrNoMachine
	}
	return m, r, err
}

// changeImage makes f, which changes the images for the sake of a machine, under the lock that Interrupt takes: like a
// change of the machine, it comes too late once its call has ended (I8).
func (d *Driver) changeImage(ctx context.Context, m *machine, name string, f func() error) error {
	d.open.RLock()
	defer d.open.RUnlock()
	if d.closed {
		return errClosed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return drivers.ErrNoMachine
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.point(name + ":before")
	if err := f(); err != nil {
		return err
	}
	d.point(name + ":after")
	return nil
}

// DropImage removes the copy before the image, so that what a removal cut short leaves is the whole image or nothing.
func (d *Driver) DropImage(ctx context.Context, image vm.ImageID) error {
	if err := d.drop(ctx, image); err != nil {
		return fmt.Errorf("cannot drop image %s: %w", image, err)
	}
	return nil
}

func (d *Driver) drop(ctx context.Context, image vm.ImageID) error {
	d.open.RLock()
	defer d.open.RUnlock()
	switch {
	case d.closed:
		return errClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if err := checkImage(image); err != nil {
		return err
	}
	d.point("drop:before")
	for _, dir := range []string{d.copyDir(), d.imageDir()} {
		if err := d.forget(dir, string(image)); err != nil {
			return err
		}
	}
	d.point("drop:after")
	return nil
}

// Images lists copies and images.
func (d *Driver) Images(context.Context) ([]vm.ImageID, error) {
	var ids []vm.ImageID
	for _, dir := range []string{d.copyDir(), d.imageDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("cannot list the images: %w", err)
		}
		for _, e := range entries {
			if usable(e.Name()) {
				ids = append(ids, vm.ImageID(e.Name()))
			}
		}
	}
	slices.Sort(ids) // what moved between the two looks is there twice
	return slices.Compact(ids), nil
}

// OpenImage reads a complete image. What is open stays readable when the image is dropped.
func (d *Driver) OpenImage(_ context.Context, image vm.ImageID) (drivers.ImageReader, error) {
	if !usable(string(image)) {
		return nil, fmt.Errorf("cannot open image %q: %w", image, drivers.ErrNoImage)
	}
	file, err := os.Open(d.imageFile(image))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot open image %s: %w", image, drivers.ErrNoImage)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open image %s: %w", image, err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open image %s: %w", image, err), file.Close())
	}
	return opened{file, info.Size()}, nil
}

// opened is an image that is being read. Images are never written to.
type opened struct {
	*os.File
	size int64
}

func (o opened) Size() int64 { return o.size }

func checkImage(id vm.ImageID) error {
	if !usable(string(id)) {
		return vm.Refuse(vm.ReasonInvalidArgument, "the image id %q is not a name", id)
	}
	return nil
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
