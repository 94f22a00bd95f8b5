package main

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"leasehold/internal/daemon"
	"leasehold/vm"
)

// mostHosts in one process: each has a listener, a journal and a lease of its own.
const mostHosts = 1000

var (
	// hostName may stand in a key of the store and in a path.
	hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)
	numbered = regexp.MustCompile(`^(.*?)(\d+)$`)
)

// hostRange is the hosts that text names: h1 is one, h1..h3 are h1, h2 and h3, h08..h10 are h08, h09 and h10.
func hostRange(text string) ([]vm.HostName, error) {
	first, last, many := strings.Cut(text, "..")
	if !many {
		last = first
	}
	if !hostName.MatchString(first) || !hostName.MatchString(last) {
		return nil, daemon.Usagef("cannot use --host %q: a host is named with letters, digits, dot, dash and underscore; "+
			"several are h1..h50", text)
	}
	if !many {
		return []vm.HostName{vm.HostName(first)}, nil
	}
	from, to := numbered.FindStringSubmatch(first), numbered.FindStringSubmatch(last)
	if from == nil || to == nil || from[1] != to[1] {
		return nil, daemon.Usagef("cannot use --host %q: both names end with a number and are the same before it", text)
	}
	begin, err1 := strconv.Atoi(from[2])
	end, err2 := strconv.Atoi(to[2])
	if err1 != nil || err2 != nil || end < begin || end-begin >= mostHosts {
		return nil, daemon.Usagef("cannot use --host %q: the numbers grow, by less than %d", text, mostHosts)
	}
	width := 0
	if strings.HasPrefix(from[2], "0") {
		width = len(from[2])
	}
	var hosts []vm.HostName
	for n := begin; n <= end; n++ {
		hosts = append(hosts, vm.HostName(fmt.Sprintf("%s%0*d", from[1], width, n)))
	}
	return hosts, nil
}

// nth is the address of the nth host: the port counts up, unless it is 0, which is a free one for each.
func nth(address string, n int) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", daemon.Usagef("cannot use --listen %q: it is not of the form host:port: %v", address, err)
	}
	first, err := strconv.ParseUint(port, 10, 16)
	if err != nil || first+uint64(n) > 65535 {
		return "", daemon.Usagef("cannot use --listen %q for %d hosts: ports end at 65535", address, n+1)
	}
	if first == 0 {
		return address, nil
	}
	return net.JoinHostPort(host, strconv.FormatUint(first+uint64(n), 10)), nil
}
