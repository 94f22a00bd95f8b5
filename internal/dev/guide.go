package dev

import (
	"os"
	"path/filepath"
	"strings"
)

// guide tells a person what runs, and what to type next.
func (c *cluster) guide() {
	c.mu.Lock()
	s := c.state
	c.mu.Unlock()
	var servers []string
	c.say("\nLeasehold runs on this machine: an etcd, %d conductors, %d hosts. Ctrl-C stops all of it.\n",
		len(s.Conductors), len(s.Computes))
	for _, p := range s.Conductors {
		servers = append(servers, p.Address)
		c.say("  conductor  %-4s pid %-8d gRPC %s, REST %s", p.Name, p.PID, p.Address, p.HTTP)
	}
	for _, p := range s.Computes {
		c.say("  host       %-4s pid %-8d gRPC %s", p.Name, p.PID, p.Address)
	}
	c.say("  store      %-4s pid %-8d http://%s", s.Etcd.Name, s.Etcd.PID, s.Etcd.Address)
	c.say("  driver     %s", s.Driver)
	c.say("  logs       %s", filepath.Join(c.cfg.Dir, "logs"))
	c.say("  pids       %s", filepath.Join(c.cfg.Dir, File))

	bin := near(filepath.Dir(c.cfg.Conductor))
	c.say("\nType next, in another terminal:\n")
	c.say("  export LEASEHOLD_SERVER=%s", strings.Join(servers, ","))
	c.say("  %s/vmctl instance create demo --flavor tiny --image default --wait", bin)
	c.say("  %s/vmctl explain demo", bin)
	c.say("  %s/vmctl instance console demo        # c prints the guest's counter, Ctrl-] leaves", bin)
	c.say("  curl -s %s/v1/instances", s.Conductors[0].HTTP)
	c.say("  etcdctl --endpoints http://%s get --prefix %s/   # make bin/etcdctl builds one", s.Etcd.Address, s.Prefix)
	c.say("  kill -9 %d                            # a conductor: the others take over its tasks", s.Conductors[0].PID)
	c.say("  %s/vmctl instance delete demo --wait\n", bin)
}

// near is path as a person in the working directory would type it.
func near(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}
