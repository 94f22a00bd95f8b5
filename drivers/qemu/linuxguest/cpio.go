package linuxguest

import (
	"bytes"
	"fmt"
)

// The modes of what is in an initrd: stat.h.
const (
	modeFolder = 0o040755
	modeDevice = 0o020600
	modeFile   = 0o100755
)

// consoleMajor and consoleMinor are the kernel's console, which must be there before any /dev is mounted.
const consoleMajor, consoleMinor = 5, 1

// archive is a cpio archive of the format "newc", as the kernel reads its initrd.
type archive struct {
	bytes.Buffer
	files int
}

// initrd is the guest's first and only file system.
func initrd(program []byte, modules []module) ([]byte, error) {
	var a archive
	for _, dir := range []string{"dev", "proc", "sys", "etc", "modules"} {
		a.add(dir, modeFolder, 0, 0, nil)
	}
	a.add("dev/console", modeDevice, consoleMajor, consoleMinor, nil)
	a.add("init", modeFile, 0, 0, program)
	if len(modules) > 99 {
		return nil, fmt.Errorf("internal error: %d modules do not fit into two digits", len(modules))
	}
	for i, m := range modules {
		a.add(fmt.Sprintf("modules/%02d-%s.ko", i, m.name), modeFile, 0, 0, m.content)
	}
	a.add("TRAILER!!!", 0, 0, 0, nil)
	return a.Bytes(), nil
}

// add appends one entry. Header with name, and content, each fill up words of 4 bytes. Nothing of the host's is in it,
// and no time, so the same content is the same archive.
func (a *archive) add(name string, mode, major, minor int, content []byte) {
	a.files++
	const links, none = 1, 0
	a.WriteString("070701")
	for _, v := range []int{
		a.files, mode, none, none, links, none, len(content), none, none, major, minor, len(name) + 1, none,
	} {
		fmt.Fprintf(a, "%08X", v)
	}
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *archive) pad() { a.Write(make([]byte, -a.Len()&3)) }
