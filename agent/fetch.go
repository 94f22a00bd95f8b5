package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// NewFetch makes what drivers copy images of other hosts with: it asks the agent at image.Address. Each body has a
// connection of its own, which ends with it or with the context. A body that breaks off, or ends before the size that was
// told, is drivers.ErrRetry: what is missing may be fetched from there on. drivers.ErrNoImage when that host has no such
// image; drivers.ErrBadImage when the URL names none.
func NewFetch(options ...grpc.DialOption) drivers.Fetch {
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A disk takes as long as it takes: a host that is gone without a word is found by pings, not by a deadline.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 3 * time.Second}),
	}, options...)
	return func(ctx context.Context, image drivers.Image, offset int64) (io.ReadCloser, int64, error) {
		id, err := remoteID(image.URL)
		if err != nil {
			return nil, 0, err
		}
		if image.Address == "" {
			return nil, 0, fmt.Errorf("cannot fetch %s: %w: its host is down", image.URL, drivers.ErrRetry)
		}
		conn, err := grpc.NewClient(image.Address, all...)
		if err != nil {
			return nil, 0, fmt.Errorf("cannot fetch %s from %q: %w", image.URL, image.Address, err)
		}
		b := &body{what: fmt.Sprintf("%s from %s", image.URL, image.Address), conn: conn}
		if err := b.open(ctx, id, offset); err != nil {
			return nil, 0, errors.Join(err, b.Close())
		}
		return b, b.size, nil
	}
}

// remoteID is the image's id in host://<host>/<id>.
func remoteID(url string) (vm.ImageID, error) {
	rest, ok := strings.CutPrefix(url, "host://")
	host, id, found := strings.Cut(rest, "/")
	if !ok || !found || host == "" || !legalID.MatchString(id) {
		return "", fmt.Errorf("cannot fetch %q: %w: it is not of the form host://<host>/<id>", url, drivers.ErrBadImage)
	}
	return vm.ImageID(id), nil
}

// body is the rest of an image, as it comes. It is used by one goroutine at a time.
type body struct {
	what   string // for messages
	conn   *grpc.ClientConn
	ended  func() error // why the transfer was called off; nil while it was not
	cancel context.CancelFunc
	stream grpc.ServerStreamingClient[computev1.ImageChunk]
	chunk  []byte // received and not read yet
	size   int64  // of the whole image
	left   int64  // to be received
}

// open waits for the first chunk, which tells the size.
func (b *body) open(ctx context.Context, id vm.ImageID, offset int64) error {
	ctx, b.cancel = context.WithCancel(ctx)
	b.ended = func() error { return context.Cause(ctx) }
	var err error
	b.stream, err = computev1.NewComputeClient(b.conn).ReadImage(ctx, &computev1.ReadImageRequest{ImageId: string(id), Offset: offset})
	if err != nil {
		return b.broken(err)
	}
	first, err := b.stream.Recv()
	if err != nil {
		return b.broken(err)
	}
	b.size, b.left, b.chunk = first.GetSizeBytes(), first.GetSizeBytes()-offset, first.GetData()
	return b.take()
}

// take counts the chunk that has come.
func (b *body) take() error {
	if b.left -= int64(len(b.chunk)); b.left < 0 {
		return fmt.Errorf("cannot fetch %s: more came than the %d bytes that it has", b.what, b.size)
	}
	return nil
}

func (b *body) Read(p []byte) (int, error) {
	for len(b.chunk) == 0 {
		if b.left == 0 {
			return 0, io.EOF
		}
		next, err := b.stream.Recv()
		if err != nil {
			return 0, b.broken(err)
		}
		b.chunk = next.GetData()
		if err := b.take(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.chunk)
	b.chunk = b.chunk[n:]
	return n, nil
}

// broken says what the end of a stream means, where it should not end. The reason of the other agent does not stick to it:
// that one is not available, for example, is no word on the step here.
func (b *body) broken(err error) error {
	err = rpc.FromStatus(err)
	_, lost := errors.AsType[*rpc.NoAnswerError](err)
	switch {
	case b.ended() != nil:
		return fmt.Errorf("cannot fetch %s: %w", b.what, b.ended())
	case errors.Is(err, io.EOF):
		return fmt.Errorf("cannot fetch %s: %w: it ended before its size", b.what, drivers.ErrRetry)
	case lost, vm.ReasonOf(err) == vm.ReasonStoreUnavailable:
		return fmt.Errorf("cannot fetch %s: %w: %v", b.what, drivers.ErrRetry, err)
	case vm.ReasonOf(err) == vm.ReasonNotFound:
		return fmt.Errorf("cannot fetch %s: %w: %v", b.what, drivers.ErrNoImage, err)
	}
	return fmt.Errorf("cannot fetch %s: %v", b.what, err)
}

// Close ends the transfer.
func (b *body) Close() error {
	if b.cancel != nil {
		b.cancel()
	}
	if err := b.conn.Close(); err != nil {
		return fmt.Errorf("cannot end the transfer of %s: %w", b.what, err)
	}
	return nil
}
