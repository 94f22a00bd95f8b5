package qemu

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// qcow2Header is the beginning of every qcow2 file, in the order and byte order of the format.
type qcow2Header struct {
	Magic                 uint32
	Version               uint32
	BackingFileOffset     uint64
	BackingFileSize       uint32
	ClusterBits           uint32
	Size                  uint64
	CryptMethod           uint32
	L1Size                uint32
	L1TableOffset         uint64
	RefcountTableOffset   uint64
	RefcountTableClusters uint32
	NbSnapshots           uint32
	SnapshotsOffset       uint64
}

const (
	qcow2Magic = 'Q'<<24 | 'F'<<16 | 'I'<<8 | 0xfb
	// Of the features that a reader must know, these change nothing outside the file: dirty, corrupt, compression type
	// and extended L2. The one left out, bit 2, keeps the content in another file.
	qcow2Harmless = 1<<0 | 1<<1 | 1<<3 | 1<<4
)

// checkHeader refuses an image that leads to other files of this host, before any program opens it as what it says it
// is. It also refuses encrypted ones and ones of more than limit bytes.
func checkHeader(path string, limit int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var h qcow2Header
	var incompatible uint64
	if err = binary.Read(f, binary.BigEndian, &h); err == nil && h.Version >= 3 {
		err = binary.Read(f, binary.BigEndian, &incompatible)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil && h.Magic != qcow2Magic:
		return badImage("it is not a qcow2 file")
	case err != nil:
		return err
	case h.Version != 2 && h.Version != 3:
		return badImage("its qcow2 version %d is not known", h.Version)
	case h.BackingFileOffset != 0:
		return badImage("it depends on another file (backing file)")
	case incompatible&^qcow2Harmless != 0:
		return badImage("it needs features %#x, which may lead to other files", incompatible&^qcow2Harmless)
	case h.CryptMethod != 0:
		return badImage("it is encrypted")
	case h.Size > uint64(limit):
		return badImage("its disk of %d bytes does not fit into %d bytes", h.Size, limit)
	}
	return nil
}
