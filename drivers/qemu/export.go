package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// Export implements drivers.Snapshotter. The machine need not be there any more. The image is qcow2, not compressed: to
// compress takes longer than to send what is saved.
func (d *Driver) Export(
	ctx context.Context, id vm.InstanceID, image vm.ImageID, report drivers.Report,
) (drivers.ImageFile, error) {
	ctx, _, done, err := d.begin(ctx, id)
	if err != nil {
		return drivers.ImageFile{}, err
	}
	defer done()
	made, _, err := d.shelf.find(image)
	if errors.Is(err, drivers.ErrNoImage) {
		report(progress("upload", 0, 0, "bytes"))
		made, err = d.export(ctx, image, report)
	}
	if err == nil {
		err = d.shelf.forgetCopy(image)
	}
	if err != nil {
		return drivers.ImageFile{}, fmt.Errorf("cannot export image %s: %w", image, err)
	}
	return made, nil
}

// export makes the image and, when it is whole and durable, the word for that. Half of the progress is writing, half
// reading.
func (d *Driver) export(
	ctx context.Context, image vm.ImageID, report drivers.Report,
) (made drivers.ImageFile, err error) {
	dir, err := d.shelf.place(image)
	if err != nil {
		return made, errors.Join(drivers.ErrNoImage, err)
	}
	copyFile, err := os.Stat(filepath.Join(dir, copied))
	if errors.Is(err, os.ErrNotExist) {
		return made, drivers.ErrNoImage
	}
	if err != nil {
		return made, err
	}
	part := filepath.Join(dir, folder.Part(shelved))
	defer func() { err = errors.Join(err, folder.Remove(dir, folder.Part(shelved))) }()
	size := copyFile.Size()
	err = d.images.tool.convert(ctx, ownDisk(filepath.Join(dir, copied)), part, func(done int64) {
		report(progress("upload", size*done/wholly, 2*size, "bytes"))
	})
	if err != nil {
		return made, err
	}
	made = drivers.ImageFile{ID: image, Format: "qcow2"}
	made.SizeBytes, made.SHA256, err = sumOf(ctx, part, func(done int64) {
		report(progress("upload", size+min(done, size), 2*size, "bytes"))
	})
	if err != nil {
		return made, err
	}
	if err := folder.SyncFile(dir, folder.Part(shelved)); err != nil {
		return made, err
	}
	if err := folder.Publish(dir, shelved); err != nil {
		return made, err
	}
	return made, folder.WriteJSON(dir, shelvedWas, made)
}

// sumOf reads a file for its size and SHA-256.
func sumOf(ctx context.Context, path string, moved func(done int64)) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(h, newMeter(moved)), &breakable{ctx, f})
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// forgetCopy removes what a complete image was made of.
func (s shelf) forgetCopy(image vm.ImageID) error {
	dir, err := s.place(image)
	if err != nil {
		return err
	}
	if has, err := folder.Has(dir, copied); err != nil || !has {
		return err
	}
	return folder.Forget(dir, copied)
}
