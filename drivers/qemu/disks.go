package qemu

import "leasehold/drivers/qemu/folder"

// diskArguments are the machine's disks: of a rescued one the rescue disk is the first, for the firmware as well as for
// the guest, which numbers disks by their address.
func diskArguments(rescued bool) []string {
	if !rescued {
		return diskArgument(folder.Disk, "disk0", "vd0", "0x2", "1")
	}
	return append(diskArgument(folder.RescueDisk, "rescue0", "vdr", "0x2", "1"),
		diskArgument(folder.Disk, "disk0", "vd0", "0x3", "2")...)
}

func diskArgument(file, node, device, address, boot string) []string {
	return []string{
		"-blockdev", `{"node-name":"` + node + `","driver":"qcow2","discard":"unmap",` +
			`"file":{"driver":"file","filename":"` + file + `","discard":"unmap"}}`,
		"-device", "virtio-blk-pci,drive=" + node + ",id=" + device + ",bus=pcie.0,addr=" + address + ",bootindex=" + boot +
			",werror=stop,rerror=stop",
	}
}
