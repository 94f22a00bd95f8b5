package client

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"leasehold/internal/rpc"
	"leasehold/vm"
)

var errNoConductor = errors.New("what listens there is no conductor")

// failover is the servers as one connection. The one that answered last is asked first.
type failover struct {
	servers []*server
	current atomic.Int64
	project string
	timeout time.Duration
}

// Invoke implements grpc.ClientConnInterface. Each attempt has its share of the timeout, so that a server which took the
// call and then fell silent leaves time for the others.
func (f *failover) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(f.outgoing(ctx), f.timeout)
	defer cancel()
	attempts := len(f.servers) + 1 // once around, and once more where it began: a conductor restarts quickly
	share := f.timeout / time.Duration(attempts)
	var last error
	for range attempts {
		s, conn, err := f.connect(ctx)
		if err != nil {
			return or(last, err)
		}
		last = attempt(ctx, share, func(ctx context.Context) error { return conn.Invoke(ctx, method, args, reply, opts...) })
		if !elsewhere(last) || ctx.Err() != nil {
			return last
		}
		f.leave(s)
		if !repeatable(method, args) {
			return last
		}
	}
	return last
}

// NewStream implements grpc.ClientConnInterface. A stream that breaks is not opened again here: only its user knows
// where it was. But the next one goes to another server.
func (f *failover) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx = f.outgoing(ctx)
	var last error
	for range f.servers {
		s, conn, err := f.connect(ctx)
		if err != nil {
			return nil, or(last, err)
		}
		st, err := conn.NewStream(ctx, desc, method, opts...)
		if err == nil {
			return &stream{ClientStream: st, broken: func() { f.leave(s) }}, nil
		}
		if last = said(ctx, err); !elsewhere(last) || ctx.Err() != nil {
			return nil, last
		}
		f.leave(s)
	}
	return nil, last
}

// connect returns the first server, from the current one on, whose connection stands, and makes it the current one.
func (f *failover) connect(ctx context.Context) (*server, *grpc.ClientConn, error) {
	first := int(f.current.Load())
	var causes []error
	for i := range f.servers {
		at := (first + i) % len(f.servers)
		conn, err := f.servers[at].connect(ctx)
		if err == nil {
			f.current.Store(int64(at))
			return f.servers[at], conn, nil
		}
		causes = append(causes, err)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, nil, ctx.Err()
		}
	}
	return nil, nil, &ConnectError{Causes: causes}
}

// leave gives up a server that did not do its work. Its connection is closed, with every stream on it.
func (f *failover) leave(s *server) {
	s.close()
	at := slices.Index(f.servers, s)
	f.current.CompareAndSwap(int64(at), int64((at+1)%len(f.servers)))
}

// next leaves the current server.
func (f *failover) next() { f.leave(f.servers[f.current.Load()]) }

func (f *failover) close() {
	for _, s := range f.servers {
		s.close()
	}
}

func (f *failover) outgoing(ctx context.Context) context.Context {
	if f.project == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-project", f.project)
}

// stream hands on what a server says, and leaves it when it stops saying anything.
type stream struct {
	grpc.ClientStream
	broken func()
}

// SendMsg implements grpc.ClientStream. On a stream that has ended it succeeds: why it ended comes with RecvMsg only.
func (s *stream) SendMsg(m any) error {
	if err := s.ClientStream.SendMsg(m); !errors.Is(err, io.EOF) {
		return rpc.FromStatus(err)
	}
	return nil
}

// RecvMsg implements grpc.ClientStream.
func (s *stream) RecvMsg(m any) error {
	err := said(s.Context(), s.ClientStream.RecvMsg(m))
	if elsewhere(err) && s.Context().Err() == nil {
		s.broken()
	}
	return err
}

func attempt(ctx context.Context, share time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	return said(ctx, call(ctx))
}

// said is rpc.FromStatus, but that only our own ctx cancels: a conductor that stops ends its calls the same way.
func said(ctx context.Context, err error) error {
	err = rpc.FromStatus(err)
	var lost *rpc.NoAnswerError
	if errors.As(err, &lost) && lost.Code == codes.Canceled && ctx.Err() == nil {
		return &rpc.NoAnswerError{Code: codes.Unavailable, Message: "the conductor ended the call: " + lost.Message}
	}
	return err
}

// elsewhere says whether another server may answer better.
func elsewhere(err error) bool {
	return err != nil && vm.ReasonOf(err) == vm.ReasonStoreUnavailable
}

// settles are the calls that say how it shall be, so that saying it twice is the same.
var settles = []string{"UpdateInstance", "CancelTask", "EnableHost", "DisableHost", "ConfirmFencedHost"}

// repeatable says whether a call whose answer was lost may be made again (P5).
func repeatable(method string, args any) bool {
	if order, ok := args.(interface{ GetRequestId() string }); ok {
		return order.GetRequestId() != ""
	}
	if edit, ok := args.(interface{ GetIfRevision() int64 }); ok && edit.GetIfRevision() != 0 {
		return false // when the first one was done, the record has another revision, and the second would be refused
	}
	name := path.Base(method)
	for _, reads := range []string{"Get", "List", "Explain", "Check", "Wait"} {
		if strings.HasPrefix(name, reads) {
			return true
		}
	}
	return slices.Contains(settles, name)
}

// or is the first of two errors that is there: what a server said is worth more than that the next one is away.
func or(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
