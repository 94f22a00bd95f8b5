package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// command is one word of the line's protocol. what is the rest of the line.
type command func(g *guest, what string) error

var commands = map[string]command{
	"net":      (*guest).tellNet,
	"blk":      (*guest).tellDisks,
	"write":    (*guest).write,
	"read":     (*guest).read,
	"passwd":   (*guest).tellPassword,
	"frozen":   (*guest).tellFrozen,
	"seed":     (*guest).tellSeed,
	"hostname": (*guest).tellHostname,
	"panic":    (*guest).panic,
}

// obey executes commands until in ends.
func (g *guest) obey(in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word, what, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if word == "" {
			continue
		}
		do, known := commands[word]
		err := fmt.Errorf("there is no command %q", word)
		if known {
			err = do(g, what)
		}
		if err != nil {
			g.tell("error: %v", err)
			continue
		}
		g.tell("ok")
	}
	return errors.Join(errors.New("the line has ended"), lines.Err())
}

func (g *guest) tellNet(string) error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("cannot list the network devices: %w", err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			g.tell("net %s %s %s", i.Name, i.HardwareAddr, sysfs("/sys/class/net", i.Name, "operstate"))
		}
	}
	return nil
}

func (g *guest) tellDisks(string) error {
	disks, err := filepath.Glob("/sys/block/*")
	if err != nil {
		return fmt.Errorf("cannot list the disks: %w", err)
	}
	for _, d := range disks {
		sectors, err := strconv.ParseInt(sysfs(d, "size"), 10, 64)
		if err == nil && sectors > 0 {
			g.tell("blk %s %d %s", filepath.Base(d), sectors*512, sysfs(d, "serial"))
		}
	}
	return nil
}

func (g *guest) write(what string) error {
	name, rest, _ := strings.Cut(what, " ")
	number, text, _ := strings.Cut(rest, " ")
	offset, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fmt.Errorf("cannot read the offset: %w", err)
	}
	return g.ice.unlessFrozen(func() error {
		f, err := os.OpenFile(device(name), os.O_WRONLY|os.O_SYNC, 0)
		if err != nil {
			return fmt.Errorf("cannot open the disk: %w", err)
		}
		_, err = f.WriteAt([]byte(text), offset)
		return errors.Join(err, f.Close())
	})
}

func (g *guest) read(what string) error {
	var name string
	var offset int64
	var n uint16 // less than the memory has, whatever is asked for
	if _, err := fmt.Sscan(what, &name, &offset, &n); err != nil {
		return fmt.Errorf("cannot read what to read: %w", err)
	}
	f, err := os.Open(device(name))
	if err != nil {
		return fmt.Errorf("cannot open the disk: %w", err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, offset); err != nil {
		return fmt.Errorf("cannot read the disk: %w", err)
	}
	g.tell("read %q", b)
	return nil
}

func (g *guest) tellPassword(user string) error {
	entry, err := g.shadow.entry(user)
	if err != nil {
		return err
	}
	g.tell("passwd %s", entry)
	return nil
}

func (g *guest) tellFrozen(string) error {
	g.tell("frozen %s %d", g.ice.status(), g.ice.times())
	return nil
}

func (g *guest) tellSeed(string) error {
	if g.seed == (seed{}) {
		return errors.New("there is no seed")
	}
	g.tell("seed disk=%s instance-id=%q hostname=%q user-data=%q", g.seed.disk, g.seed.instance, g.seed.hostname, g.seed.userData)
	return nil
}

func (g *guest) tellHostname(string) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("cannot tell the hostname: %w", err)
	}
	g.tell("hostname %s", name)
	return nil
}

func (g *guest) panic(string) error {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		return fmt.Errorf("cannot panic: %w", err)
	}
	return errors.New("cannot panic: the kernel lives on")
}

func device(name string) string { return filepath.Join("/dev", filepath.Base(name)) }

// sysfs is the content of a file of sysfs; empty when it cannot be read, as some cannot.
func sysfs(path ...string) string {
	b, _ := os.ReadFile(filepath.Join(path...))
	return strings.TrimSpace(string(b))
}
