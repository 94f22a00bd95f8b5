package qemu

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"leasehold/drivers"
	"leasehold/vm"
)

// ofHost gets an image that a host has made: from the own shelf when it is there, else from that host, once.
func (s *images) ofHost(
	ctx context.Context, want drivers.Image, u *url.URL, size vm.GiB, report drivers.Report,
) (string, error) {
	id := vm.ImageID(strings.TrimPrefix(u.Path, "/"))
	made, path, err := s.own.find(id)
	switch {
	case err == nil && want.SHA256 != "" && !strings.EqualFold(made.SHA256, want.SHA256):
		return "", badImage("its sha256 is %s and not %s", made.SHA256, want.SHA256)
	case err == nil:
		return path, nil
	case !errors.Is(err, drivers.ErrNoImage):
		return "", err
	case s.remote == nil:
		return "", badImage("it is not on this host, and %s cannot be asked for it from here", want.URL)
	}
	key := digest([]byte(want.URL + "\n" + string(want.ID) + "\n" + want.SHA256))
	return s.once(ctx, key, report, func(ctx context.Context, f *os.File, now *fetch) error {
		err := s.transfer(ctx, want, size, f, now.moved(report))
		now.partial = errors.Is(err, drivers.ErrRetry)
		return err
	})
}

// transfer writes the image to f, behind what is there of it. It goes on by itself where the line breaks as long as
// each try brings something; drivers.ErrRetry says that it can go on from what has come.
func (s *images) transfer(
	ctx context.Context, want drivers.Image, size vm.GiB, f *os.File, moved func(done, total int64),
) error {
	sum := sha256.New()
	done, err := io.Copy(sum, &breakable{ctx, f}) // it leaves f at its end
	if err != nil {
		return fmt.Errorf("cannot read what has come of the image: %w", err)
	}
	for {
		n, total, err := s.transferFrom(ctx, want, done, int64(size)<<30+slack, io.MultiWriter(f, sum), moved)
		done += n
		switch {
		case err == nil && done == total && want.SHA256 == "":
			return nil
		case err == nil && done == total:
			return compare(sum.Sum(nil), want.SHA256)
		case ctx.Err() != nil:
			return fmt.Errorf("cannot fetch the image: %w", context.Cause(ctx))
		case err == nil && n == 0:
			return fmt.Errorf("cannot fetch the image: %w: it ends after %d of %d bytes", drivers.ErrRetry, done, total)
		case err != nil && (n == 0 || !errors.Is(err, drivers.ErrRetry)):
			return fmt.Errorf("cannot fetch the image: %w", err)
		}
	}
}

// transferFrom adds what one connection brings. total is what the host says of the whole image; a connection that
// breaks is drivers.ErrRetry, one that ends too early no error.
func (s *images) transferFrom(
	ctx context.Context, want drivers.Image, offset, limit int64, to io.Writer, moved func(done, total int64),
) (n, total int64, err error) {
	body, total, err := s.remote(ctx, want, offset)
	if err != nil {
		return 0, 0, err
	}
	defer body.Close()
	switch {
	case total > limit:
		return 0, total, badImage("its %d bytes do not fit on its disk", total)
	case total < offset:
		return 0, total, badImage("its size is %d bytes, and %d have come already", total, offset)
	}
	line := &line{r: &breakable{ctx, body}}
	m := newMeter(func(now int64) { moved(offset+now, total) })
	n, err = io.Copy(io.MultiWriter(to, m), io.LimitReader(line, total-offset+1))
	switch {
	case line.broken != nil:
		return n, total, fmt.Errorf("%w: %w", drivers.ErrRetry, line.broken)
	case err != nil: // it cannot be written
		return n, total, err
	case offset+n > total:
		return n, total, badImage("it is longer than the %d bytes that its host says", total)
	}
	return n, total, nil
}

// line tells a broken connection from what else may fail while it is copied.
type line struct {
	r      io.Reader
	broken error
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		l.broken = err
	}
	return n, err
}
