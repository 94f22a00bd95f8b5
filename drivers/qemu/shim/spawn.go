package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"leasehold/drivers/qemu/cgroup"
	"leasehold/drivers/qemu/folder"
)

// Launch is what the shim is to do: the content of launch.json. Program is executed in the machine's folder with Args;
// Listeners sockets reach it as descriptors 3, 4, ...
type Launch struct {
	Program   string       `json:"program"`
	Args      []string     `json:"args"`
	Listeners []string     `json:"listeners"` // their names in the folder
	Cgroup    cgroup.Group `json:"cgroup,omitempty"`
}

// The shim's inherited descriptors; the listeners of Launch follow.
const (
	fdLock = 3 + iota
	fdControl
	fdListeners
)

// Spawn starts a shim that executes l in dir: command, then --dir dir. It returns folder.ErrHeld when a process of the
// machine is alive. After nil the lock is held by the shim and every socket can be dialed; whether the hypervisor comes
// up is seen there, or in exit.json. The shim lives on after the agent. While the agent lives too, a goroutine of
// Spawn waits for the shim, as a child must be reaped by its parent.
func Spawn(command []string, dir string, l Launch) error {
	lock, err := folder.Acquire(dir)
	if err != nil {
		return err
	}
	files := []*os.File{lock}
	defer func() {
		for _, f := range files {
			f.Close() // the shim has its own
		}
	}()
	if err := folder.Remove(dir, folder.Exit); err != nil {
		return err
	}
	if err := folder.WriteJSON(dir, folder.Launch, l); err != nil {
		return err
	}
	for _, name := range append([]string{folder.Control}, l.Listeners...) {
		f, err := folder.Listen(dir, name)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if err := l.Cgroup.Create(); err != nil {
		return err
	}
	return start(append(slices.Clip(command), "--dir", dir), dir, files)
}

func start(argv []string, dir string, files []*os.File) error {
	log, err := openLog(dir, folder.ShimLog)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives every context on purpose
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the shim: %w", err)
	}
	go cmd.Wait() //nolint:errcheck // exit.json says more
	return nil
}

func openLog(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open a log: %w", err)
	}
	return f, nil
}
