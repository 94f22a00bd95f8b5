package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"leasehold/drivers"
	"leasehold/drivers/qemu/boot0"
	"leasehold/drivers/qemu/folder"
	"leasehold/vm"
)

// image is a file that can be made a disk of: a raw one, or a qcow2 that names no other file.
type image struct {
	path   string
	format string
}

// images fetches images, each once, into a folder that belongs to one driver.
type images struct {
	dir    string
	http   *http.Client
	remote drivers.Fetch // nil when there is none
	own    shelf
	tool   tool

	mu      sync.Mutex
	fetches map[string]*fetch
}

// fetch is held by whoever fetches one file now; others wait for it and see how far it is.
type fetch struct {
	token   chan struct{}
	done    atomic.Int64
	total   atomic.Int64
	partial bool // owned by the holder of token: after a failure, what has come is gone on from
	waiting int  // guarded by images.mu
}

// openImages removes what a predecessor had begun to fetch.
func openImages(c Config, own shelf) (*images, error) {
	if err := os.MkdirAll(c.Images, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder for images: %w", err)
	}
	begun, err := filepath.Glob(filepath.Join(c.Images, folder.Part("*")))
	for _, path := range begun {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot clean the folder for images: %w", err)
	}
	return &images{
		dir: c.Images, http: c.HTTP, remote: c.Fetch, own: own, tool: tool(c.QEMUImg), fetches: map[string]*fetch{},
	}, nil
}

// get brings the image here and checks it. It returns drivers.ErrBadImage when the image itself is to blame.
func (s *images) get(ctx context.Context, want drivers.Image, size vm.GiB, report drivers.Report) (image, error) {
	img := image{format: want.Format}
	u, err := url.Parse(want.URL)
	if err != nil {
		return img, badImage("its address cannot be read: %v", err)
	}
	switch u.Scheme {
	case "builtin":
		if u.Opaque != "boot0" {
			return img, badImage("there is no built-in image %q", u.Opaque)
		}
		img.format = "raw"
		img.path, err = s.once(ctx, "builtin-boot0-"+digest(boot0.Sector), report, func(_ context.Context, f *os.File, _ *fetch) error {
			_, err := f.Write(boot0.Disk())
			return err
		})
		return img, err
	case "file":
		img.path = u.Path
		err = s.local(ctx, want, u, report)
	case "http", "https":
		key := digest([]byte(want.URL + "\n" + string(want.ID) + "\n" + want.SHA256))
		img.path, err = s.once(ctx, key, report, func(ctx context.Context, f *os.File, now *fetch) error {
			return s.download(ctx, want, size, f, now.moved(report))
		})
	case "host":
		img.path, err = s.ofHost(ctx, want, u, size, report)
	default:
		return img, badImage("its address %q is none of builtin:, file:, http:, https: and host:", want.URL)
	}
	if err != nil {
		return img, err
	}
	return img, s.check(ctx, img, size)
}

// check refuses images whose disk does not fit, or that are not alone.
func (s *images) check(ctx context.Context, img image, size vm.GiB) error {
	limit := int64(size) << 30
	switch img.format {
	case "raw":
		info, err := os.Stat(img.path)
		if err != nil {
			return err
		}
		if info.Size() > limit {
			return badImage("its %d bytes do not fit on a disk of %d GiB", info.Size(), size)
		}
		return nil
	case "qcow2":
		if err := checkHeader(img.path, limit); err != nil {
			return err
		}
		return s.tool.check(ctx, img.path, limit)
	}
	return badImage("its format is %q, neither raw nor qcow2", img.format)
}

// local checks an image that is a file of the host.
func (s *images) local(ctx context.Context, want drivers.Image, u *url.URL, report drivers.Report) error {
	if u.Host != "" {
		return badImage("its address %q names the host %q; write file:///path", want.URL, u.Host)
	}
	info, err := os.Stat(u.Path)
	if err != nil {
		return badImage("%v", err)
	}
	if !info.Mode().IsRegular() {
		return badImage("%s is not a regular file", u.Path)
	}
	if want.SHA256 == "" {
		return nil
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return badImage("%v", err)
	}
	defer f.Close()
	m := newMeter(func(done int64) { report(progress("image", done, info.Size(), "bytes")) })
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sum, m), &breakable{ctx, f}); err != nil {
		return fmt.Errorf("cannot read the image: %w", err)
	}
	return compare(sum.Sum(nil), want.SHA256)
}

// once returns the path of the cached file key, which fill makes when it is not there yet. Of several calls for the same
// file one makes it and the others wait, report how it goes on, and take over when it fails.
func (s *images) once(
	ctx context.Context, key string, report drivers.Report, fill func(context.Context, *os.File, *fetch) error,
) (string, error) {
	f := s.join(key)
	defer s.leave(key, f)
	if err := f.acquire(ctx, report); err != nil {
		return "", err
	}
	defer func() { <-f.token }()
	path := filepath.Join(s.dir, key)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	part, err := os.OpenFile(filepath.Join(s.dir, folder.Part(key)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("cannot keep the image: %w", err)
	}
	f.partial = false
	err = errors.Join(fill(ctx, part, f), part.Sync(), part.Close())
	if err != nil && !f.partial {
		err = errors.Join(err, folder.Remove(s.dir, folder.Part(key)))
	}
	if err != nil {
		return "", err
	}
	return path, folder.Publish(s.dir, key)
}

// moved tells who fetches and who waits how far it is.
func (f *fetch) moved(report drivers.Report) func(done, total int64) {
	return func(done, total int64) {
		f.done.Store(done)
		f.total.Store(total)
		report(progress("image", done, total, "bytes"))
	}
}

// acquire waits for the token. It reports only when whoever holds it comes on (P7).
func (f *fetch) acquire(ctx context.Context, report drivers.Report) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last int64
	for {
		select {
		case f.token <- struct{}{}:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the image: %w", context.Cause(ctx))
		case <-tick.C:
			if done := f.done.Load(); done != last {
				last = done
				report(progress("image", done, f.total.Load(), "bytes"))
			}
		}
	}
}

func (s *images) join(key string) *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fetches[key]
	if f == nil {
		f = &fetch{token: make(chan struct{}, 1)}
		s.fetches[key] = f
	}
	f.waiting++
	return f
}

func (s *images) leave(key string, f *fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		delete(s.fetches, key)
	}
}

// badImage blames the image; trying again does not help.
func badImage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", drivers.ErrBadImage, fmt.Sprintf(format, args...))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func compare(sum []byte, want string) error {
	if got := hex.EncodeToString(sum); !strings.EqualFold(got, want) {
		return badImage("its sha256 is %s and not %s", got, want)
	}
	return nil
}
