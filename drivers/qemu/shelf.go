package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"leasehold/drivers"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// The names in an image's folder on the shelf.
const (
	copying    = "copying.json" // whose disk is being copied; until the copy is whole
	copied     = "copy.qcow2"   // the copy of a disk. It appears whole or not at all
	shelved    = "image.qcow2"  // the image made of it
	shelvedWas = "image.json"   // what is in it: an image is complete when this is there
)

// source is the content of copying.json.
type source struct {
	Instance vm.InstanceID `json:"instance"`
}

// shelf is the folder of the images that were made here, one folder each.
type shelf string

func openShelf(c Config) (shelf, error) {
	if err := os.MkdirAll(c.Snapshots, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder for snapshots: %w", err)
	}
	return shelf(c.Snapshots), nil
}

// place is the folder of an image; an error when the id cannot be the name of one.
func (s shelf) place(id vm.ImageID) (string, error) {
	if !idPattern.MatchString(string(id)) {
		return "", fmt.Errorf("cannot use %q as the id of an image", id)
	}
	return filepath.Join(string(s), string(id)), nil
}

// make makes the folder of an image, durably.
func (s shelf) make(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return folder.Sync(string(s))
}

// find tells of a complete image and where its file is; drivers.ErrNoImage when there is none.
func (s shelf) find(id vm.ImageID) (made drivers.ImageFile, path string, err error) {
	dir, err := s.place(id)
	if err != nil {
		return made, "", errors.Join(drivers.ErrNoImage, err)
	}
	err = folder.ReadJSON(dir, shelvedWas, &made)
	if errors.Is(err, fs.ErrNotExist) {
		return made, "", drivers.ErrNoImage
	}
	return made, filepath.Join(dir, shelved), err
}

// drop removes the folder of an image: first what says that it is complete.
func (s shelf) drop(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names := []string{shelvedWas}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err := folder.Forget(dir, names...); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return err
	}
	return folder.Sync(string(s))
}

// Images implements drivers.Snapshotter. What is half-made counts too: it takes room.
func (d *Driver) Images(context.Context) ([]vm.ImageID, error) {
	entries, err := os.ReadDir(string(d.shelf))
	if err != nil {
		return nil, fmt.Errorf("cannot list the images: %w", err)
	}
	ids := []vm.ImageID{}
	for _, e := range entries {
		ids = append(ids, vm.ImageID(e.Name()))
	}
	return ids, nil
}

// DropImage implements drivers.Snapshotter. A copying that a dead agent has left is ended: it would go on into a file
// without a name, and hold the guest up.
func (d *Driver) DropImage(ctx context.Context, image vm.ImageID) error {
	dir, err := d.shelf.place(image)
	if err != nil {
		return err
	}
	var from source
	if folder.ReadJSON(dir, copying, &from) == nil {
		d.abandonCopy(ctx, from.Instance, image)
	}
	if err := d.shelf.drop(dir); err != nil {
		return fmt.Errorf("cannot drop image %s: %w", image, err)
	}
	return nil
}

// opened is a complete image. It can be read to its end also when it is dropped meanwhile.
type opened struct {
	*os.File
	size int64
}

// Size implements drivers.ImageReader.
func (o opened) Size() int64 { return o.size }

// OpenImage implements drivers.Snapshotter.
func (d *Driver) OpenImage(_ context.Context, image vm.ImageID) (drivers.ImageReader, error) {
	made, path, err := d.shelf.find(image)
	if err != nil {
		return nil, fmt.Errorf("cannot open image %s: %w", image, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open image %s: %w", image, err)
	}
	return opened{f, made.SizeBytes}, nil
}
