// Package seedtest makes NoCloud seeds for tests: ISO 9660 disks labelled cidata, with Joliet names beside the plain ones.
package seedtest

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

const sector = 2048

// The sectors of the disk; 0 to 15 are the system's.
const (
	primaryAt = 16 + iota
	jolietAt
	endAt
	tableAt // of paths, little-endian; then big-endian, and both for Joliet
	_
	jolietTableAt
	_
	rootAt
	jolietRootAt
	filesAt
)

// file has both its names.
type file struct {
	plain, joliet string
	content       string
}

// Disk is the content of a seed.
func Disk(metaData, userData string) []byte {
	files := []file{{"META_DAT.;1", "meta-data", metaData}, {"USER_DAT.;1", "user-data", userData}}
	plainName := func(f file) []byte { return []byte(f.plain) }
	jolietName := func(f file) []byte { return utf16BE(f.joliet) }
	disk := make([]byte, filesAt*sector)
	at := filesAt
	var places []int
	for _, f := range files {
		places = append(places, at)
		disk = append(disk, whole([]byte(f.content))...)
		at = len(disk) / sector
	}
	put := func(at int, b []byte) { copy(disk[at*sector:], b) }
	put(primaryAt, descriptor(1, []byte("CIDATA"), ' ', "", rootAt, tableAt, at))
	put(jolietAt, descriptor(2, utf16BE("cidata"), 0, "%/E", jolietRootAt, jolietTableAt, at))
	put(endAt, []byte("\xffCD001\x01"))
	for _, v := range []struct{ table, root int }{{tableAt, rootAt}, {jolietTableAt, jolietRootAt}} {
		put(v.table, path(binary.LittleEndian, v.root))
		put(v.table+1, path(binary.BigEndian, v.root))
	}
	put(rootAt, folder(rootAt, files, places, plainName))
	put(jolietRootAt, folder(jolietRootAt, files, places, jolietName))
	return disk
}

// descriptor is a volume descriptor.
func descriptor(kind byte, label []byte, fill byte, escape string, root, table, sectors int) []byte {
	b := make([]byte, sector)
	b[0], b[6] = kind, 1
	copy(b[1:], "CD001")
	for i := range b[40:72] {
		b[40+i] = fill
	}
	copy(b[40:72], label)
	putBoth32(b[80:], uint32(sectors))
	copy(b[88:], escape)
	putBoth16(b[120:], 1)
	putBoth16(b[124:], 1)
	putBoth16(b[128:], sector)
	putBoth32(b[132:], 10)
	binary.LittleEndian.PutUint32(b[140:], uint32(table))
	binary.BigEndian.PutUint32(b[148:], uint32(table+1))
	copy(b[156:], record([]byte{0}, root, sector, true))
	b[881] = 1 // version of the structure
	return b
}

// path is a table with the root directory alone.
func path(order binary.ByteOrder, root int) []byte {
	b := make([]byte, 10)
	b[0] = 1
	order.PutUint32(b[2:], uint32(root))
	order.PutUint16(b[6:], 1)
	return b
}

// folder is a directory of one sector.
func folder(self int, files []file, places []int, name func(file) []byte) []byte {
	b := slices.Concat(record([]byte{0}, self, sector, true), record([]byte{1}, self, sector, true))
	for i, f := range files {
		b = append(b, record(name(f), places[i], len(f.content), false)...)
	}
	return b
}

// record is a directory record; its length is even.
func record(name []byte, at, size int, isFolder bool) []byte {
	b := make([]byte, (33+len(name)+1)&^1)
	b[0], b[32] = byte(len(b)), byte(len(name))
	putBoth32(b[2:], uint32(at))
	putBoth32(b[10:], uint32(size))
	if isFolder {
		b[25] = 2
	}
	putBoth16(b[28:], 1)
	copy(b[33:], name)
	return b
}

func putBoth32(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, v)
	binary.BigEndian.PutUint32(b[4:], v)
}

func putBoth16(b []byte, v uint16) {
	binary.LittleEndian.PutUint16(b, v)
	binary.BigEndian.PutUint16(b[2:], v)
}

func utf16BE(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

func whole(b []byte) []byte {
	return append(slices.Clip(b), make([]byte, -len(b)&(sector-1))...)
}
