package daemon

import (
	"context"
	"fmt"
	"net"
)

// Listen opens a TCP address that was given by a flag. Without certificates only this machine may connect, so any other
// address is refused.
func Listen(ctx context.Context, flag, address string) (net.Listener, error) {
	if err := Loopback(flag, address); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s (--%s): %w", address, flag, err)
	}
	return l, nil
}

// Loopback refuses an address, host:port, that other machines could reach. The empty host means all interfaces.
func Loopback(flag, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return Usagef("cannot use --%s %q: it is not of the form host:port: %v", flag, address, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip.IsLoopback() {
		return nil
	}
	return Usagef("cannot use --%s %q: without certificates everybody who reaches an address may command it, "+
		"so only loopback addresses are allowed, such as 127.0.0.1", flag, address)
}
