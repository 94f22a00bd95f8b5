package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"leasehold/drivers"
	"leasehold/vm"
)

// diskLimit is how large a text is believed to be a simulated disk. One of a real hypervisor is larger by far.
const diskLimit = 1 << 20

// makeDisk takes the steps, and gets the image at the one of that name, so that no later one is taken for a bad image.
// It returns the disk made of it, which is nowhere yet.
func (c *call) makeDisk(
	ctx context.Context, m *machine, f faults, s drivers.Spec, image drivers.Image, steps ...string,
) (disk, error) {
	var k disk
	for _, step := range steps {
		if err := c.step(ctx, m, f, step); err != nil {
			return "", err
		}
		if step != "image" {
			continue
		}
		var err error
		if k, err = c.d.content(ctx, image); err != nil {
			return "", err
		}
	}
	return k.made(s, image), nil
}

// content is what an image holds. Only images that simulated hosts have made hold anything; of the others it is seen
// whether a real driver would know where to get them.
func (d *Driver) content(ctx context.Context, image drivers.Image) (disk, error) {
	scheme, rest, _ := strings.Cut(image.URL, ":")
	switch {
	case scheme == "host":
		return d.exported(ctx, image)
	case rest == "" || !slices.Contains([]string{"builtin", "file", "http", "https"}, scheme):
		return "", badImage("%q names neither a builtin nor a file, http, https or host", image.URL)
	}
	return "", nil
}

// exported is the content of a host:// image. Ids are never used twice, so one that is here is the one that is meant,
// whatever this host is called.
func (d *Driver) exported(ctx context.Context, image drivers.Image) (disk, error) {
	host, name, _ := strings.Cut(strings.TrimPrefix(image.URL, "host://"), "/")
	if !usable(name) {
		return "", badImage("%q is not host://<host>/<id>", image.URL)
	}
	text, err := os.ReadFile(d.imageFile(vm.ImageID(name)))
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("cannot read image %s: %w", name, err)
	case vm.HostName(host) == d.cfg.Host, d.cfg.Fetch == nil:
		return "", badImage("%s is not on this host", name)
	default:
		if text, err = d.fetch(ctx, image); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256(text)
	if got := hex.EncodeToString(sum[:]); image.SHA256 != "" && !strings.EqualFold(image.SHA256, got) {
		return "", badImage("its digest is %s and should be %s", got, image.SHA256)
	}
	if !utf8.Valid(text) {
		return "", badImage("%s is no disk of a simulated machine", name)
	}
	return disk(text), nil
}

// fetch reads the image from the host that has it. It is short, so what was cut off is read from its beginning the next
// time.
func (d *Driver) fetch(ctx context.Context, image drivers.Image) ([]byte, error) {
	body, size, err := d.cfg.Fetch(ctx, image, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch image %s: %w", image.URL, err)
	}
	defer body.Close()
	if size > diskLimit {
		return nil, badImage("its %d bytes are no disk of a simulated machine", size)
	}
	text, err := io.ReadAll(io.LimitReader(body, size+1))
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("cannot fetch image %s: %w: %w", image.URL, drivers.ErrRetry, err)
	case int64(len(text)) != size:
		return nil, fmt.Errorf("cannot fetch image %s: %w: %d of %d bytes came",
			image.URL, drivers.ErrRetry, len(text), size)
	}
	return text, nil
}

func badImage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", drivers.ErrBadImage, fmt.Sprintf(format, args...))
}
