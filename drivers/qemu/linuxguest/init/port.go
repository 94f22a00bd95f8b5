package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// agentPort is the name of the port that the host gives to agents.
const agentPort = "org.qemu.guest_agent.0"

// look is how often the agent looks for a port, which appears a moment after its module, and for a caller: the kernel
// gives no event for either.
const look = 100 * time.Millisecond

// serveAgent answers on the agent's port, as soon as there is one.
func (g *guest) serveAgent() {
	tick := time.NewTicker(look)
	defer tick.Stop()
	path := findPort()
	for ; path == ""; path = findPort() {
		<-tick.C
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		g.tell("error: cannot open the agent's port: %v", err)
		return
	}
	g.tell("AGENT-READY")
	g.tell("error: %v", g.converse(&port{fd: fd, tick: tick}))
}

// findPort is the device of the agent's port; empty when there is none.
func findPort() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name") // the pattern is a good one
	for _, n := range names {
		if sysfs(n) == agentPort {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(n)))
		}
	}
	return ""
}

// port reads and writes a virtio port by blocking calls: the end of file says only that nobody is connected now.
type port struct {
	fd   int
	tick *time.Ticker
}

func (p *port) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(p.fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n > 0:
			return n, nil
		default:
			<-p.tick.C
		}
	}
}

func (p *port) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n, err := unix.Write(p.fd, b[done:])
		if err != nil && err != unix.EINTR {
			return done, fmt.Errorf("write: %w", err)
		}
		done += max(n, 0)
	}
	return len(b), nil
}
