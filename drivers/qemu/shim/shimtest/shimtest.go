// Package shimtest lets a test binary be its own shim, as the agent's program is.
package shimtest

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"leasehold/drivers/qemu/shim"
)

// tests is the environment variable that tells the binary, executed again, that it is a shim, and of which test process.
const tests = "LEASEHOLD_TEST_SHIM_OF"

// Intercept must be called first in TestMain. In a shim it does not return.
func Intercept() {
	if pid := os.Getenv(tests); pid != "" {
		go endWith(pid)
		os.Exit(shim.Main(os.Args[1:])) //nolint:forbidigo // here this is the main of another program
	}
	os.Setenv(tests, strconv.Itoa(os.Getpid()))
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else a shim under the race detector ends a second late
}

// Command is what reaches shim.Main in a test.
func Command() []string { return []string{os.Args[0]} }

// endWith ends the machine when the test's process has: a real one outlives its agent, but nobody comes back for this one.
func endWith(pid string) {
	if n, err := strconv.Atoi(pid); err == nil {
		if fd, err := unix.PidfdOpen(n, 0); err == nil {
			for {
				_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
				if err != unix.EINTR {
					break
				}
			}
		}
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
}
