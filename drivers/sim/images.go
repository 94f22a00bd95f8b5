package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"leasehold/drivers"
	"leasehold/vm"
)

// The disk of a simulated machine is a line of text: what it was made of, and how often it was started. An image is such a
// text in a file <id>; a copy that is no image yet is <id>.copy.
const copySuffix = ".copy"

func (d *Driver) imageDir() string { return filepath.Join(d.cfg.Dir, "images") }

func (d *Driver) imageFile(id vm.ImageID) string { return filepath.Join(d.imageDir(), string(id)) }

// Snapshot copies the disk as it is now; the machine does not notice.
func (d *Driver) Snapshot(ctx context.Context, id vm.InstanceID, image vm.ImageID, report drivers.Report) error {
	return d.run(ctx, "snapshot", id, report, func(ctx context.Context, c *call) error {
		m, r, err := c.made()
		if err != nil {
			return err
		}
		for _, path := range []string{d.imageFile(image), d.imageFile(image) + copySuffix} {
			if _, err := os.Stat(path); err == nil {
				return nil
			}
		}
		if err := c.step(ctx, m, r.faults, "snapshot"); err != nil {
			return err
		}
		return d.putImage(ctx, "snapshot", d.imageFile(image)+copySuffix, fmt.Sprintf("%s started %d times\n", r.Disk, r.Boots))
	})
}

// Export gives the copy the name of an image.
func (d *Driver) Export(ctx context.Context, id vm.InstanceID, image vm.ImageID, report drivers.Report) (drivers.ImageFile, error) {
	made := drivers.ImageFile{ID: image, Format: "raw"}
	err := d.run(ctx, "export", id, report, func(ctx context.Context, c *call) error {
		m, r, err := c.made()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(d.imageFile(image))
		if errors.Is(err, fs.ErrNotExist) {
			if text, err = os.ReadFile(d.imageFile(image) + copySuffix); errors.Is(err, fs.ErrNotExist) {
				return drivers.ErrNoImage
			}
			if err == nil {
				err = c.step(ctx, m, r.faults, "upload")
			}
			if err == nil {
				err = d.putImage(ctx, "export", d.imageFile(image), string(text))
			}
			if err == nil {
				err = os.Remove(d.imageFile(image) + copySuffix)
			}
		}
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		made.SizeBytes, made.SHA256 = int64(len(text)), hex.EncodeToString(sum[:])
		return nil
	})
	return made, err
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

// putImage writes a file as a whole or not at all, unless its call has ended.
func (d *Driver) putImage(ctx context.Context, change, path, text string) error {
	d.open.RLock()
	defer d.open.RUnlock()
	if d.closed {
		return errClosed
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	d.point(change + ":before")
	temp := filepath.Join(d.imageDir(), "."+filepath.Base(path)+tempSuffix)
	if err := errors.Join(d.write(temp, []byte(text)), os.Rename(temp, path)); err != nil {
		return fmt.Errorf("cannot keep an image: %w", err)
	}
	d.point(change + ":after")
	return nil
}

// DropImage removes copy and image.
func (d *Driver) DropImage(_ context.Context, image vm.ImageID) error {
	for _, path := range []string{d.imageFile(image) + copySuffix, d.imageFile(image)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot drop image %s: %w", image, err)
		}
	}
	return nil
}

// Images lists copies and images.
func (d *Driver) Images(context.Context) ([]vm.ImageID, error) {
	entries, err := os.ReadDir(d.imageDir())
	if err != nil {
		return nil, fmt.Errorf("cannot list the images: %w", err)
	}
	var ids []vm.ImageID
	seen := map[vm.ImageID]bool{}
	for _, e := range entries {
		id := vm.ImageID(strings.TrimSuffix(e.Name(), copySuffix))
		if !strings.HasPrefix(e.Name(), ".") && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// OpenImage reads a complete image.
func (d *Driver) OpenImage(_ context.Context, image vm.ImageID) (drivers.ImageReader, error) {
	text, err := os.ReadFile(d.imageFile(image))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, drivers.ErrNoImage
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read image %s: %w", image, err)
	}
	return opened{bytes.NewReader(text)}, nil
}

// opened is an image in memory.
type opened struct{ *bytes.Reader }

// Close does nothing.
func (opened) Close() error { return nil }

// content is what a disk made of an image holds. One that this host has made is read; any other is only named.
func (d *Driver) content(image drivers.Image) string {
	if text, err := os.ReadFile(d.imageFile(image.ID)); err == nil {
		return strings.TrimSpace(string(text))
	}
	return "made of " + image.Name
}

// usable says whether a real driver would know where to get the image. Nothing is fetched.
func (d *Driver) usable(image drivers.Image) error {
	if strings.HasPrefix(image.URL, "host://") {
		return nil
	}
	return usable(image)
}
