package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"
)

// errNoISO says that a disk holds no ISO 9660 file system.
var errNoISO = errors.New("no ISO 9660 file system")

const (
	isoSector  = 2048
	isoSystem  = 16      // the sectors before the first descriptor
	isoMost    = 16      // descriptors; a disk with more is not one of ours
	isoLargest = 1 << 20 // of a file or a directory; the memory is small
)

// The types of volume descriptors.
const (
	isoPrimary       = 1
	isoSupplementary = 2 // Joliet, with the names as they were given
	isoEnd           = 255
)

// iso is the root directory of an ISO 9660 disk. Files below it are not reached.
type iso struct {
	r     io.ReaderAt
	label string
	files map[string]isoExtent
}

// isoExtent is where a file or directory is.
type isoExtent struct{ sector, size uint32 }

// openISO reads label and root directory, both of Joliet when that is there, since the plain ones hold capitals only.
func openISO(r io.ReaderAt) (*iso, error) {
	d := &iso{r: r, files: map[string]isoExtent{}}
	for i := range isoMost {
		b := make([]byte, isoSector)
		if _, err := r.ReadAt(b, int64(isoSystem+i)*isoSector); err != nil || string(b[1:6]) != "CD001" {
			break
		}
		joliet := b[0] == isoSupplementary && b[88] == '%' && b[89] == '/'
		if b[0] == isoEnd {
			break
		}
		if b[0] != isoPrimary && !joliet {
			continue
		}
		if err := d.readRoot(extentOf(b[156:]), joliet); err != nil {
			return nil, err
		}
		if b[0] == isoPrimary {
			d.label = strings.TrimRight(string(b[40:72]), " \x00")
		}
	}
	if d.label == "" && len(d.files) == 0 {
		return nil, errNoISO
	}
	return d, nil
}

// readRoot adds the files of a root directory.
func (d *iso) readRoot(e isoExtent, joliet bool) error {
	b, err := d.content(e)
	if err != nil {
		return fmt.Errorf("cannot read the root directory: %w", err)
	}
	for len(b) > 0 {
		length := int(b[0])
		if length == 0 { // the rest of a sector, as a record does not cross into the next
			b = b[min(len(b), (len(b)-1)%isoSector+1):]
			continue
		}
		if length < 34 || length > len(b) || 33+int(b[32]) > length {
			return errors.New("cannot read the root directory: a record is cut off")
		}
		if name := isoName(b[33:33+int(b[32])], joliet); name != "" {
			d.files[name] = extentOf(b)
		}
		b = b[length:]
	}
	return nil
}

// isoName is a name as people write it: without version, and without the capitals of plain ISO 9660. Empty for . and ..
func isoName(b []byte, joliet bool) string {
	if len(b) == 1 && b[0] <= 1 {
		return ""
	}
	name := strings.ToLower(string(b))
	if joliet {
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(b[2*i:])
		}
		name = string(utf16.Decode(units))
	}
	name, _, _ = strings.Cut(name, ";")
	return strings.TrimSuffix(name, ".")
}

// extentOf a directory record, whose numbers are there in both byte orders.
func extentOf(record []byte) isoExtent {
	return isoExtent{binary.LittleEndian.Uint32(record[2:]), binary.LittleEndian.Uint32(record[10:])}
}

// file is the content of a file of the root directory; fs.ErrNotExist when there is none.
func (d *iso) file(name string) (string, error) {
	e, ok := d.files[name]
	if !ok {
		e, ok = d.files[strings.ReplaceAll(name, "-", "_")] // all that plain ISO 9660 can write
	}
	if !ok {
		return "", fmt.Errorf("cannot open %s: %w", name, fs.ErrNotExist)
	}
	b, err := d.content(e)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	return string(b), nil
}

func (d *iso) content(e isoExtent) ([]byte, error) {
	if e.size > isoLargest {
		return nil, fmt.Errorf("%d bytes are too many", e.size)
	}
	b := make([]byte, e.size)
	if _, err := d.r.ReadAt(b, int64(e.sector)*isoSector); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}
