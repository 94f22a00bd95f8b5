package linuxguest_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers/qemu/folder"
	"leasehold/drivers/qemu/linuxguest"
	"leasehold/drivers/qemu/linuxguest/seedtest"
	"leasehold/drivers/qemu/qmp"
)

// patience bounds every wait; a boot takes 4 CPU seconds, and the host may be busy.
const patience = 2 * time.Minute

const install = "these tests need QEMU: apt-get install --no-install-recommends qemu-system-x86 qemu-utils"

// running is a guest without any driver: QEMU with the serial line as its standard input and output.
type running struct {
	*testing.T
	dir   string
	line  io.Writer
	heard chan string
	cmd   *exec.Cmd
}

// start boots a copy of the guest's disk, with the seed beside it.
func start(t *testing.T, seed []byte) *running {
	t.Helper()
	cache, err := linuxguest.Cache()
	require.NoError(t, err)
	disk, err := linuxguest.Disk(t.Context(), cache)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "seed"), seed, 0o600))
	out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk,
		filepath.Join(dir, "disk"), "1G").CombinedOutput()
	require.NoError(t, err, "%s; %s", out, install)
	g := &running{T: t, dir: dir, heard: make(chan string, 1024)}
	g.cmd = exec.CommandContext(t.Context(), "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "128",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
		"-qmp", "unix:qmp,server=on,wait=off", "-device", "pvpanic",
		"-drive", "file=disk,format=qcow2,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0,bootindex=1",
		"-drive", "file=seed,format=raw,if=none,id=d1,readonly=on",
		"-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=d1")
	g.cmd.Dir, g.cmd.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g.line, err = g.cmd.StdinPipe()
	require.NoError(t, err)
	lines, err := g.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, g.cmd.Start(), install)
	go func() {
		defer close(g.heard)
		for s := bufio.NewScanner(lines); s.Scan(); {
			g.heard <- strings.TrimRight(s.Text(), "\r")
		}
	}()
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill() // fails when it has ended
		for range g.heard {
		}
		_ = g.cmd.Wait()
	})
	return g
}

// hears waits for a line and returns those before it.
func (g *running) hears(text string) []string {
	g.Helper()
	var before []string
	for deadline := time.After(patience); ; {
		select {
		case l, open := <-g.heard:
			require.True(g, open, "the line has ended after %q", before)
			if l == text {
				return before
			}
			before = append(before, l)
		case <-deadline:
			require.FailNow(g, "waited in vain for "+text, "%q", before)
		}
	}
}

// says gives a command and returns its answer.
func (g *running) says(command string) []string {
	g.Helper()
	_, err := io.WriteString(g.line, command+"\n")
	require.NoError(g, err)
	return g.hears("ok")
}

func TestDiskBootsByItselfAndTheGuestObeys(t *testing.T) {
	user := "#cloud-config\npackages: []\n"
	g := start(t, seedtest.Disk("instance-id: i-42\nlocal-hostname: lodger\n", user))
	require.Contains(t, g.hears(linuxguest.Ready), "HOSTNAME lodger")
	require.Equal(t, []string{"hostname lodger"}, g.says("hostname"))
	require.Equal(t, []string{
		`seed disk=sr0 instance-id="i-42" hostname="lodger" user-data="#cloud-config\npackages: []\n"`,
	}, g.says("seed"))
	require.Contains(t, g.says("blk"), "blk vda 1073741824 ")
	const free = "500000000" // behind kernel and initrd, and not at the beginning of a sector
	require.Empty(t, g.says("write vda "+free+" it was here"))
	require.Equal(t, []string{`read "it was here\x00"`}, g.says("read vda "+free+" 12"))
	require.Equal(t, []string{"frozen thawed 0"}, g.says("frozen"))

	conn, err := folder.Dial(t.Context(), g.dir, "qmp")
	require.NoError(t, err)
	monitor, err := qmp.New(t.Context(), conn, func(qmp.Event) {})
	require.NoError(t, err)
	defer monitor.Close()
	require.NoError(t, monitor.Do(t.Context(), "system_powerdown", nil, nil))
	g.hears("PWRBTN")
	for range g.heard { // until it is off
	}
}

func TestGuestIsBuiltOnce(t *testing.T) {
	cache, err := linuxguest.Cache()
	require.NoError(t, err)
	first, err := linuxguest.Disk(t.Context(), cache)
	require.NoError(t, err)
	before, err := os.Stat(first)
	require.NoError(t, err)
	second, err := linuxguest.Disk(t.Context(), cache)
	require.NoError(t, err)
	require.Equal(t, first, second)
	after, err := os.Stat(second)
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	manifest, err := os.ReadFile(filepath.Join(filepath.Dir(first), "MANIFEST"))
	require.NoError(t, err)
	require.Regexp(t, `^kernel linux-image-\S+ \S+\ninit sha256 [0-9a-f]{64}\nlayout \d+\n$`, string(manifest))
}
