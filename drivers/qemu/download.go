package qemu

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"leasehold/drivers"
	"leasehold/vm"
)

// slack is how much larger than its disk an image file may be: a qcow2 has tables beside the content.
const slack = 64 << 20

// download writes the image to f. There is no limit in time: a download that stands still reports nothing, and whoever
// waits for reports ends its context (P7).
func (s *images) download(
	ctx context.Context, want drivers.Image, size vm.GiB, f *os.File, moved func(done, total int64),
) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, want.URL, http.NoBody)
	if err != nil {
		return badImage("its address cannot be used: %v", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return failed(ctx, err)
	}
	defer resp.Body.Close()
	limit := int64(size)<<30 + slack
	switch {
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		return failed(ctx, fmt.Errorf("the server says %s", resp.Status))
	case resp.StatusCode != http.StatusOK:
		return badImage("the server says %s", resp.Status)
	case resp.ContentLength > limit:
		return badImage("its %d bytes do not fit on a disk of %d GiB", resp.ContentLength, size)
	}
	m := newMeter(func(done int64) { moved(done, max(resp.ContentLength, 0)) })
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum, m), io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return failed(ctx, err)
	case n > limit:
		return badImage("it does not fit on a disk of %d GiB", size)
	case want.SHA256 == "":
		return nil
	}
	return compare(sum.Sum(nil), want.SHA256)
}

// failed is a download that may go better another time, unless somebody has ended it.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("cannot download the image: %w", context.Cause(ctx))
	}
	return fmt.Errorf("cannot download the image: %w: %w", drivers.ErrRetry, err)
}

// meter counts what is written to it and tells the sum some times a second, while it grows.
type meter struct {
	done int64
	told time.Time
	tell func(done int64)
}

const meterEvery = 250 * time.Millisecond

func newMeter(tell func(done int64)) *meter { return &meter{tell: tell} }

func (m *meter) Write(b []byte) (int, error) {
	m.done += int64(len(b))
	if now := time.Now(); now.Sub(m.told) >= meterEvery {
		m.told = now
		m.tell(m.done)
	}
	return len(b), nil
}

// breakable is a reader that ends with its context.
type breakable struct {
	ctx context.Context //nolint:containedctx // it lives for one copy
	r   io.Reader
}

func (b *breakable) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.r.Read(p)
}
