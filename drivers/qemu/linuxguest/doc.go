// Package linuxguest builds a small Linux guest for tests of real hypervisors: a disk that boots by itself, with Debian's
// cloud kernel and one program of our own (see init, whose comment is the manual of the guest's serial line) in place of
// a system. It needs 96 MiB of memory, and is ready 2 to 6 CPU seconds after its start under emulation.
//
//	sector 0      GRUB's boot sector
//	       1...   GRUB's core with the address of the rest in it
//	       2048   kernel
//	       ...    initrd: init, and the modules it needs
//
// There is no file system: GRUB reads kernel and initrd by their sectors, so nothing is mounted to build it, and whatever
// follows on a larger disk is free for tests.
//
// What it is made of comes with apt-get download, which checks it, and is unpacked without being installed. Only Go, apt,
// dpkg-deb and qemu-img must be there, and a kernel with the modules of Debian 12. A guest is kept in a cache, under a
// name that is the digest of all that went in, so a change of init makes a new one and leaves the old one alone.
package linuxguest
