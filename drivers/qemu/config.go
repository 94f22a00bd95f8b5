package qemu

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"leasehold/drivers"
	"leasehold/vm"
)

// Accel says what executes the guests' instructions.
type Accel string

// The values of Accel. AccelAuto takes KVM only where the processor's own module is loaded: a /dev/kvm alone may belong
// to a kernel that can run nothing but guests made for it.
const (
	AccelAuto Accel = "auto"
	AccelTCG  Accel = "tcg"
	AccelKVM  Accel = "kvm"
)

// Config is what the driver needs. Only Dir is required.
type Config struct {
	Dir           string        // the machines' folders; nothing else may write here
	Images        string        // cache of fetched images, for this driver alone; <Dir>/.images when empty
	Snapshots     string        // images made of machines; <Dir>/.snapshots when empty
	SnapshotSpeed int64         // that QEMU may copy of a disk in use, bytes a second, holes included; zero: no limit
	QEMU          string        // binary; qemu-system-x86_64 of PATH when empty
	QEMUImg       string        // binary; the one beside QEMU, or qemu-img of PATH, when empty
	Firmware      []string      // further folders with firmware (-L), for a QEMU that is not installed
	Accel         Accel         // AccelAuto when empty
	Capacity      vm.Size       // what may be promised here; found out when zero
	ShimCommand   []string      // program and arguments that reach shim.Main; this program's subcommand shim when empty
	HTTP          *http.Client  // fetches images; one without an overall limit when nil
	Fetch         drivers.Fetch // gets images that another host has made; when nil they cannot be used here
	Log           hclog.Logger  // silent when nil
}

// install is what to say to somebody without QEMU.
const install = "install it: apt-get install --no-install-recommends qemu-system-x86 qemu-utils"

// complete fills in what was left out and checks what was given.
func (c Config) complete() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("cannot open the driver: no folder for machines is set")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("cannot open the driver: %w", err)
	}
	c.Dir = dir
	if c.Images == "" {
		c.Images = filepath.Join(c.Dir, ".images")
	}
	if c.Snapshots == "" {
		c.Snapshots = filepath.Join(c.Dir, ".snapshots")
	}
	if c.QEMU == "" {
		c.QEMU = "qemu-system-x86_64"
	}
	if c.QEMU, err = exec.LookPath(c.QEMU); err != nil {
		return c, fmt.Errorf("cannot find QEMU (%s): %w", install, err)
	}
	if c.QEMUImg == "" {
		c.QEMUImg = filepath.Join(filepath.Dir(c.QEMU), "qemu-img")
		if _, err := os.Stat(c.QEMUImg); err != nil {
			c.QEMUImg = "qemu-img"
		}
	}
	if c.QEMUImg, err = exec.LookPath(c.QEMUImg); err != nil {
		return c, fmt.Errorf("cannot find qemu-img (%s): %w", install, err)
	}
	if c.Accel == "" {
		c.Accel = AccelAuto
	}
	if c.ShimCommand == nil {
		c.ShimCommand = []string{"/proc/self/exe", "shim"} // also when the file was replaced meanwhile
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	return c, nil
}
