package shim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leasehold/drivers/qemu/folder"
)

// Main is the shim's process: compute shim --dir D. args come without the program and the subcommand, the lock and the
// sockets as inherited descriptors. It returns the exit code of the process, which must end then.
func Main(args []string) int {
	flags := flag.NewFlagSet("shim", flag.ContinueOnError)
	dir := flags.String("dir", "", "the machine's folder")
	if err := flags.Parse(args); err != nil || *dir == "" {
		fmt.Fprintln(os.Stderr, "cannot be started by hand: the agent starts it with --dir and inherited sockets")
		return 2
	}
	if err := run(*dir); err != nil {
		fmt.Fprintf(os.Stderr, "%s %v\n", time.Now().UTC().Format(time.RFC3339), err)
		return 1
	}
	return 0
}

// guard is the running shim.
type guard struct {
	dir    string
	launch Launch
	cmd    *exec.Cmd
	lock   *os.File
	asked  chan Why      // the first who asked to kill
	ended  chan struct{} // exit.json is durable; exit can be read
	exit   Exit
	owed   sync.WaitGroup // answers on the control socket
}

func run(dir string) error {
	// The hypervisor's parent, whose death kills it, is the thread that started it. This one lives as long as the process.
	runtime.LockOSThread()
	g := &guard{dir: dir, asked: make(chan Why, 1), ended: make(chan struct{})}
	g.lock = os.NewFile(fdLock, folder.LockFile)
	if err := folder.ReadJSON(dir, folder.Launch, &g.launch); err != nil {
		return err
	}
	if err := dropStrangers(fdListeners + len(g.launch.Listeners)); err != nil {
		return err
	}
	if err := g.launch.Cgroup.Enter(); err != nil {
		return err
	}
	control, err := inherit(fdControl)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	signal.Notify(signals, syscall.SIGTERM)
	if err := g.start(); err != nil {
		return g.end(Exit{Error: err.Error(), At: time.Now().UTC()})
	}
	go g.serve(control)
	go func() { <-signals; g.kill(Terminated) }()
	go g.trimLogs()
	err = g.cmd.Wait() // the goroutines end with the process
	if g.cmd.ProcessState == nil {
		return fmt.Errorf("cannot wait for the hypervisor: %w", err) // it dies with this process
	}
	return g.end(exitOf(g.cmd.ProcessState))
}

// dropStrangers keeps the hypervisor from inheriting more than it is given by name: descriptors below first are ours and
// are closed at its start, others that are not closed by themselves came from whoever started the agent, and are of no
// use here. A pipe among them would keep its reader waiting for as long as the machine lives.
func dropStrangers(first int) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot list the open files: %w", err)
	}
	for _, e := range open {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fd < first {
			syscall.CloseOnExec(fd)
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// inherit takes over a listener and keeps no copy of it, so that connections are refused when the last owner is gone.
func inherit(fd uintptr) (net.Listener, error) {
	f := os.NewFile(fd, "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use the inherited socket: %w", err)
	}
	return l, nil
}

// start makes the hypervisor's process: a child that dies with this thread, in its own cgroup, with the lock (I2, I4).
// This process visits that cgroup for it, so the child is never elsewhere.
func (g *guard) start() error {
	log, err := openLog(g.dir, folder.QEMULog)
	if err != nil {
		return err
	}
	defer log.Close()
	g.cmd = exec.Command(g.launch.Program, g.launch.Args...) //nolint:noctx // it lives as long as the guest
	g.cmd.Dir, g.cmd.Env, g.cmd.Stdout, g.cmd.Stderr = g.dir, environment(), log, log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for i, name := range g.launch.Listeners {
		g.cmd.ExtraFiles = append(g.cmd.ExtraFiles, os.NewFile(uintptr(fdListeners+i), name))
	}
	g.cmd.ExtraFiles = append(g.cmd.ExtraFiles, g.lock)
	if err := g.launch.Cgroup.Qemu().Enter(); err != nil {
		return err
	}
	err = g.cmd.Start()
	for _, f := range g.cmd.ExtraFiles {
		if f != g.lock {
			f.Close() // else a dial would succeed though the hypervisor is gone
		}
	}
	if err != nil {
		return fmt.Errorf("cannot start the hypervisor: %w", err)
	}
	err = errors.Join(g.launch.Cgroup.Enter(),
		folder.Write(g.dir, folder.PIDFile, fmt.Appendf(nil, "%d\n", g.cmd.Process.Pid)))
	if err != nil {
		return errors.Join(err, g.cmd.Process.Kill(), g.cmd.Wait())
	}
	return nil
}

// environment is the agent's without its own settings, which may hold secrets.
func environment() []string {
	env := []string{}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LEASEHOLD_") {
			env = append(env, e)
		}
	}
	return env
}

// kill has the hypervisor ended. The child cannot have been replaced by another process, because only Wait reaps it.
func (g *guard) kill(why Why) {
	select {
	case g.asked <- why:
	default: // somebody was first
	}
	_ = g.cmd.Process.Kill() // fails only when it has ended already
}

// end writes the last word (I3), tells those who wait, and lets go of the lock by returning.
func (g *guard) end(e Exit) error {
	select {
	case e.Asked = <-g.asked:
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	errs := []error{g.launch.Cgroup.Qemu().Kill(ctx)} // what a hypervisor had started dies with it
	for _, name := range append([]string{folder.PIDFile, folder.Control}, g.launch.Listeners...) {
		errs = append(errs, folder.Remove(g.dir, name))
	}
	errs = append(errs, WriteExit(g.dir, e))
	g.exit = e
	close(g.ended)
	g.owed.Wait()
	return errors.Join(errs...)
}
