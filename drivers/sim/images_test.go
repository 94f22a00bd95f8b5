package sim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/sim"
	"leasehold/vm"
)

// image reads a whole image, as another host would.
func image(t *testing.T, d *sim.Driver, id vm.ImageID) string {
	t.Helper()
	r, err := d.OpenImage(t.Context(), id)
	require.NoError(t, err)
	text, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(text)
}

// rest is what the disk of exported says beside where it comes from.
const rest = "boots 2\nwrote \"hello\\nworld\"\n"

// exported is the record of an image that holds the disk of a machine named web, started twice.
func exported(t *testing.T, d *sim.Driver, host string) drivers.Image {
	t.Helper()
	s := spec(nil)
	s.Name = "web"
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	require.NoError(t, d.Reboot(t.Context(), s.ID, 0, quiet))
	require.NoError(t, d.GuestWrite(s.ID, "hello\nworld"))
	id := vm.ImageID("image-of-" + s.ID)
	require.NoError(t, d.Snapshot(t.Context(), s.ID, id, quiet))
	made, err := d.Export(t.Context(), s.ID, id, quiet)
	require.NoError(t, err)
	require.Equal(t, "image \"builtin:default\"\nmachine "+string(s.ID)+" \"web\"\n"+rest, image(t, d, id))
	return drivers.Image{
		ID: id, Name: "nightly", URL: "host://" + host + "/" + string(id), Format: made.Format, SHA256: made.SHA256,
	}
}

func TestADiskTellsWhatItWasMadeOf(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	s.Name, s.Image = "copy", exported(t, d, "h1")
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Snapshot(t.Context(), s.ID, "second", quiet))
	_, err := d.Export(t.Context(), s.ID, "second", quiet)
	require.NoError(t, err)
	require.Equal(t, "image \""+s.Image.URL+"\"\nmachine "+string(s.ID)+" \"copy\"\n"+rest, image(t, d, "second"))
}

func TestASnapshotIsOfTheOwnDiskAlsoOfARescuedMachine(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(nil)
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	require.NoError(t, d.Start(t.Context(), s.ID, quiet))
	own := write(t, d, s.ID)
	require.NoError(t, d.Rescue(t.Context(), s.ID, rescueImage, quiet))
	write(t, d, s.ID)
	require.NoError(t, d.Snapshot(t.Context(), s.ID, "snap", quiet))
	_, err := d.Export(t.Context(), s.ID, "snap", quiet)
	require.NoError(t, err)
	require.Contains(t, image(t, d, "snap"), own)
}

func TestAnImageOfAnotherHostIsFetched(t *testing.T) {
	one := open(t, sim.Config{Dir: t.TempDir(), Host: "h1"})
	made := exported(t, one, "h1")
	made.Address = "127.0.0.1:9001"
	var asked []drivers.Image
	two := open(t, sim.Config{Dir: t.TempDir(), Host: "h2", Fetch: func(
		ctx context.Context, image drivers.Image, offset int64,
	) (io.ReadCloser, int64, error) {
		asked = append(asked, image)
		r, err := one.OpenImage(ctx, image.ID)
		if err != nil {
			return nil, 0, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(r, offset, r.Size()), r}, r.Size(), nil
	}})
	s := spec(nil)
	s.Image = made
	require.NoError(t, two.Prepare(t.Context(), s, quiet))
	require.NoError(t, two.Start(t.Context(), s.ID, quiet))
	require.Equal(t, "hello\nworld", read(t, two, s.ID))
	require.Equal(t, []drivers.Image{made}, asked)
	left, err := two.Images(t.Context())
	require.NoError(t, err)
	require.Empty(t, left, "what was fetched is on the machine's disk and nowhere else")

	require.NoError(t, one.DropImage(t.Context(), made.ID))
	s = spec(nil)
	s.Image = made
	require.ErrorIs(t, two.Prepare(t.Context(), s, quiet), drivers.ErrNoImage)
	require.ErrorIs(t, one.Prepare(t.Context(), s, quiet), drivers.ErrBadImage, "its own host need not ask anybody")
	require.Len(t, asked, 2)
}

// Each fetch brings something else than the image; what may go better another time is told from what never will.
func TestAFetchThatFailsIsNoImage(t *testing.T) {
	good := exported(t, open(t, sim.Config{Dir: t.TempDir()}), "h1")
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		body io.Reader
		size int64
		err  error
		want error
	}{
		"the host is away":        {err: drivers.ErrRetry, want: drivers.ErrRetry},
		"the host has it no more": {err: drivers.ErrNoImage, want: drivers.ErrNoImage},
		"it ends early":           {body: strings.NewReader("x"), size: 2, want: drivers.ErrRetry},
		"it does not end":         {body: strings.NewReader("xyz"), size: 2, want: drivers.ErrRetry},
		"the connection breaks":   {body: failing{broken}, size: 2, want: broken},
		"it is another":           {body: strings.NewReader("xy"), size: 2, want: drivers.ErrBadImage},
		"it is a real disk":       {size: 1 << 30, want: drivers.ErrBadImage},
	} {
		t.Run(name, func(t *testing.T) {
			closed := false
			d := open(t, sim.Config{Dir: t.TempDir(), Fetch: func(
				context.Context, drivers.Image, int64,
			) (io.ReadCloser, int64, error) {
				if c.err != nil {
					return nil, 0, c.err
				}
				return closing{c.body, func() { closed = true }}, c.size, nil
			}})
			s := spec(nil)
			s.Image = good
			require.ErrorIs(t, d.Prepare(t.Context(), s, quiet), c.want)
			require.Equal(t, c.err == nil, closed, "what was opened is closed")
			require.ErrorIs(t, d.Start(t.Context(), s.ID, quiet), drivers.ErrNoMachine)
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type closing struct {
	io.Reader
	closed func()
}

func (c closing) Close() error {
	c.closed()
	return nil
}

func TestAnImageThatNobodyCanBringIsRefused(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir(), Host: "h1"})
	for _, url := range []string{
		"host://h2/image", "host://h1/image", "host://h1/", "host://h1", "host:", "host://h1/../machines",
		"host://h1/a/b",
	} {
		s := spec(nil)
		s.Image.URL = url
		require.ErrorIs(t, d.Prepare(t.Context(), s, quiet), drivers.ErrBadImage, url)
	}
}

func TestAFileThatIsNoTextIsNoDisk(t *testing.T) {
	dir := t.TempDir()
	d := open(t, sim.Config{Dir: dir})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "images", "odd"), bytes.Repeat([]byte{0xff}, 8), 0o644))
	s := spec(nil)
	s.Image.URL = "host://h1/odd"
	require.ErrorIs(t, d.Prepare(t.Context(), s, quiet), drivers.ErrBadImage)
}

func TestAnOpenImageIsReadableAfterItWasDropped(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	made := exported(t, d, "h1")
	r, err := d.OpenImage(t.Context(), made.ID)
	require.NoError(t, err)
	require.NoError(t, d.DropImage(t.Context(), made.ID))
	text, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	require.NoError(t, err)
	require.Contains(t, string(text), "boots 2")
	require.NoError(t, r.Close())
}

func TestAnInterruptedSnapshotComesTooLate(t *testing.T) {
	d := open(t, sim.Config{Dir: t.TempDir()})
	s := spec(map[string]string{"sim.hang.snapshot": "true"})
	require.NoError(t, d.Prepare(t.Context(), s, quiet))
	result := make(chan error, 1)
	go func() { result <- d.Snapshot(t.Context(), s.ID, "snap", quiet) }()
	for ended := false; !ended; { // it may come before the call has begun
		require.NoError(t, d.Interrupt(t.Context(), s.ID, false))
		select {
		case err := <-result:
			require.ErrorContains(t, err, "interrupted")
			ended = true
		default:
		}
	}
	left, err := d.Images(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}
