package qemu

import (
	"fmt"
	"regexp"
	"strconv"

	"leasehold/drivers/qemu/folder"
)

// listeners are the sockets of a machine, in the order of QEMU's descriptors 3, 4, 5, 6.
var listeners = []string{folder.QMP, folder.QMP2, folder.Serial, folder.Agent}

// hotPlugs is how many devices may be plugged in while the machine runs: each needs a root port of its own, which must
// be there from the beginning.
const hotPlugs = 8

// agentSlot is where the guest finds the port of its agent. It is named, and no neighbour of the disk, so that a machine
// that was made before there was such a port gets one with its next process and keeps every other device in its place.
const agentSlot = "0x8"

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// arguments is the command line of a machine. Nothing of it comes from a user unchecked. QEMU runs in the machine's
// folder and executes nothing until it is told to (-S), so that "made" and "may run" are two states (I2 of the seam).
// What the guest does to itself stops QEMU instead of ending it, so that the reason can be asked for afterwards.
func (h hypervisor) arguments(d definition, rescued bool, firmware []string) []string {
	cpu := "qemu64"
	if h.accel == AccelKVM {
		cpu = "host"
	}
	args := []string{
		"-name", string(d.Spec.ID),
		"-machine", d.Machine + ",accel=" + string(h.accel),
		"-cpu", cpu,
		"-smp", strconv.Itoa(d.Spec.Size.VCPUs),
		"-m", fmt.Sprintf("%dM", d.Spec.Size.MemoryMiB),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-S", "-action", "reboot=reset,shutdown=pause,panic=pause",
		"-rtc", "base=utc",
		"-device", "pvpanic",
		"-chardev", "socket,id=qmp,fd=3,server=on,wait=off", "-mon", "chardev=qmp,mode=control",
		"-chardev", "socket,id=qmp2,fd=4,server=on,wait=off", "-mon", "chardev=qmp2,mode=control",
		"-chardev", "socket,id=ser,fd=5,server=on,wait=off,logappend=on,logfile=" + folder.SerialLog, "-serial", "chardev:ser",
		"-chardev", "socket,id=qga,fd=6,server=on,wait=off",
		"-device", "virtio-serial-pci,id=vser0,bus=pcie.0,addr=" + agentSlot + ",max_ports=2",
		"-device", "virtserialport,bus=vser0.0,nr=1,chardev=qga,name=org.qemu.guest_agent.0",
	}
	args = append(args, diskArguments(rescued)...)
	for i := range hotPlugs {
		port := fmt.Sprintf("pcie-root-port,id=rp%d,bus=pcie.0,chassis=%d,slot=%d,addr=0x10.0x%x", i, i+1, i+1, i)
		if i == 0 {
			port += ",multifunction=on"
		}
		args = append(args, "-device", port)
	}
	if uuid.MatchString(string(d.Spec.ID)) {
		args = append(args, "-uuid", string(d.Spec.ID))
	}
	for _, dir := range firmware {
		args = append(args, "-L", dir)
	}
	return args
}
