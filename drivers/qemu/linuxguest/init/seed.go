package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// seed is what a NoCloud disk says, as far as this guest follows it.
type seed struct {
	disk     string
	instance string
	hostname string
	userData string
}

// readSeed looks at every disk for one with the label cidata, and takes on the name that it gives.
func (g *guest) readSeed() error {
	disks, err := filepath.Glob("/sys/block/*")
	if err != nil {
		return fmt.Errorf("cannot list the disks: %w", err)
	}
	for _, d := range disks {
		name := filepath.Base(d)
		s, err := openSeed(device(name))
		if errors.Is(err, errNoISO) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read the seed on %s: %w", name, err)
		}
		s.disk = name
		g.seed = s
		if s.hostname == "" {
			return nil
		}
		if err := unix.Sethostname([]byte(s.hostname)); err != nil {
			return fmt.Errorf("cannot take on the hostname %q: %w", s.hostname, err)
		}
		g.tell("HOSTNAME %s", s.hostname)
		return nil
	}
	return nil
}

// openSeed reads the seed on a device; errNoISO when there is none.
func openSeed(path string) (seed, error) {
	f, err := os.Open(path)
	if err != nil { // a drive without a medium
		return seed{}, errNoISO
	}
	defer f.Close()
	d, err := openISO(f)
	if err != nil {
		return seed{}, err
	}
	if !strings.EqualFold(d.label, "cidata") {
		return seed{}, errNoISO
	}
	meta, err := d.file("meta-data")
	if err != nil {
		return seed{}, err
	}
	user, err := d.file("user-data")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return seed{}, err
	}
	return parseSeed(meta, user), nil
}

// parseSeed reads the plain "key: value" lines at the top level of both, which is all of YAML that a seed of ours needs.
// The hostname of user-data wins, as with cloud-init.
func parseSeed(meta, user string) seed {
	m, u := topLevel(meta), topLevel(user)
	s := seed{instance: m["instance-id"], hostname: m["local-hostname"], userData: user}
	if s.hostname == "" {
		s.hostname = m["hostname"]
	}
	if strings.HasPrefix(user, "#cloud-config\n") && u["hostname"] != "" {
		s.hostname = u["hostname"]
	}
	return s
}

func topLevel(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if ok && key != "" && !strings.ContainsAny(key[:1], " \t#-") {
			values[key] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return values
}
