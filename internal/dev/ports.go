package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// addresses finds n addresses on loopback that nobody listens on: ports counted up from first, or any when first is 0.
// All are open at the same time, so no two are the same. Somebody else may take one before a child does; it would say so.
func addresses(ctx context.Context, flag string, first, n int) (found []string, err error) {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	for i := range n {
		port := 0
		if first != 0 {
			port = first + i
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return nil, fmt.Errorf("cannot use port %d: %w; stop whoever has it, or choose others with --%s (0 takes free ones)",
				port, err, flag)
		}
		open = append(open, l)
		found = append(found, l.Addr().String())
	}
	return found, nil
}
