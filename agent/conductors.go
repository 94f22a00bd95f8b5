package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
)

// conductors is who may be asked. All of them can do the same, so one is asked until it fails, then the next. It is used
// by one goroutine at a time.
type conductors struct {
	addresses []string
	conns     []*grpc.ClientConn
	current   int
}

func dialConductors(addresses []string, options []grpc.DialOption) (*conductors, error) {
	if len(addresses) == 0 {
		return nil, errors.New("cannot register: no conductor was named")
	}
	// A conductor that comes back is found within a second, not after gRPC's two minutes.
	retry := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second}
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 2 * time.Second}),
	}, options...)
	c := &conductors{addresses: addresses}
	for _, address := range addresses {
		conn, err := grpc.NewClient(address, all...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot use the conductor address %q: %w", address, err), c.close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// ask calls one conductor after the other until one answers, each with its part of the time: limit is for all of them. An
// error that another conductor would give as well is returned at once.
func (c *conductors) ask(ctx context.Context, limit time.Duration, call func(context.Context, conductorv1.ClusterClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var failures []error
	for left := len(c.conns); left > 0; left-- {
		err := c.askOne(ctx, left, call)
		if err == nil || answered(err) {
			return err
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.addresses[c.current], err))
		c.current = (c.current + 1) % len(c.conns)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

func (c *conductors) askOne(ctx context.Context, left int, call func(context.Context, conductorv1.ClusterClient) error) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return rpc.FromStatus(call(ctx, conductorv1.NewClusterClient(c.conns[c.current])))
}

func (c *conductors) close() error {
	var failures []error
	for _, conn := range c.conns {
		failures = append(failures, conn.Close())
	}
	return errors.Join(failures...)
}

func (c *conductors) String() string { return strings.Join(c.addresses, ",") }
