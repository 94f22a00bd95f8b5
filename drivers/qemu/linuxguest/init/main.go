// Command init is the only program of the Linux test guest: process 1, without any other user space. It loads the modules
// in /modules, reads a NoCloud seed, obeys the power button, plays the guest's agent, and obeys commands on the serial line.
//
// It says GUEST-READY when it begins to listen, and AGENT-READY when its agent does. A command is a line; its answer is any
// number of lines and then ok, or error: with the reason:
//
//	net                      name, address and state of each network device
//	blk                      name, size in bytes and serial of each disk
//	write DISK OFFSET TEXT   writes TEXT, durably; refused while frozen, where a file system would wait
//	read DISK OFFSET N       prints N bytes, quoted
//	passwd USER              the entry of USER in /etc/shadow: user:$salt$hash, hash = hex(sha256(salt + password))
//	frozen                   frozen or thawed, and how often the agent has frozen
//	seed                     what was read of the seed
//	hostname                 the name that it has
//	panic                    panics
//
// By itself it says HOSTNAME with the name that a seed gave it, PASSWORD with a user whose password was set, FROZEN and
// THAWED, and PWRBTN before it powers off.
package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	err := boot()
	// Process 1 must not end. The reason is the last thing on the line, and a machine that is off is easy to notice.
	fmt.Fprintln(os.Stderr, "error: cannot go on:", err)
	powerOff()
}

// boot brings the system up and listens until the line ends.
func boot() error {
	if err := mountAll(); err != nil {
		return err
	}
	line, err := openLine("/dev/ttyS0")
	if err != nil {
		return err
	}
	os.Stderr = line // for the runtime too: a panic shows where somebody looks
	if err := loadModules("/modules"); err != nil {
		return err
	}
	g := &guest{line: line, shadow: newShadow("/etc/shadow")}
	g.tell("") // the loader has left the cursor in the middle of a line
	if err := g.shadow.create("root", "operator"); err != nil {
		return err
	}
	if err := watchButtons(g); err != nil {
		return err
	}
	if err := g.readSeed(); err != nil {
		g.tell("error: %v", err)
	}
	go g.serveAgent()
	g.tell("GUEST-READY")
	return g.obey(line)
}

func mountAll() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.at, err)
		}
	}
	return nil
}

// openLine opens the serial line, which must not repeat what it is told: the console would take its own words for answers.
func openLine(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("cannot read the settings of %s: %w", path, err)
	}
	t.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("cannot set %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// guest is what the parts of the program share.
type guest struct {
	line   io.Writer // written by tell only
	shadow *shadow
	ice    ice
	seed   seed
}

// tell writes one line. A line is one write, which the kernel does not mix with others.
func (g *guest) tell(format string, args ...any) {
	fmt.Fprintf(g.line, format+"\n", args...)
}

func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // nobody is left to hear of an error
	select {}
}
