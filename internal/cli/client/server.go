package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// connectTimeout is how long one server may take until its connection stands: far more than a round trip, and short
// enough that a machine which swallows packets, or a stopped process, delays a person once and not for long.
const connectTimeout = 3 * time.Second

// server is one conductor and the connection to it, made on demand and thrown away when it fails: what is left of a
// failed one would wait out its backoff before it tries again.
type server struct {
	address string

	mu   sync.Mutex
	conn *grpc.ClientConn
}

// connect returns a connection that stands.
func (s *server) connect(ctx context.Context) (*grpc.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.conn.GetState() == connectivity.Ready {
		return s.conn, nil
	}
	s.drop()
	conn, err := dial(ctx, s.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.address, err)
	}
	s.conn = conn
	return conn, nil
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *server) drop() {
	if s.conn != nil {
		_ = s.conn.Close() // fails only when closed already
		s.conn = nil
	}
}

// dial waits until the connection is ready: the other side has spoken. The error is that of the network, which grpc would
// only give in words.
func dial(ctx context.Context, address string) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	refused := make(chan error, 1)
	dialer := func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			select {
			case refused <- err:
			default:
			}
		}
		return conn, err
	}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dialer))
	if err != nil {
		return nil, err
	}
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state != connectivity.TransientFailure && conn.WaitForStateChange(ctx, state) {
			continue
		}
		_ = conn.Close()
		select {
		case err := <-refused:
			if op := new(net.OpError); errors.As(err, &op) {
				err = op.Err // without the address, which stands before it
			}
			return nil, err
		default:
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no answer: %w", ctx.Err())
		}
		return nil, errNoConductor
	}
	return conn, nil
}
