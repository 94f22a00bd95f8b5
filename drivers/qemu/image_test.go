package qemu_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/drivers/qemu/boot0"
	"leasehold/vm"
)

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func contains(b []byte, s string) bool { return strings.Contains(string(b), s) }

func count(b []byte, s string) int { return strings.Count(string(b), s) }

// server serves content and counts the requests for it.
func server(t *testing.T, content []byte) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/image" {
			code := map[string]int{"/busy": http.StatusServiceUnavailable}[r.URL.Path]
			http.Error(w, "no", max(code, http.StatusNotFound))
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

// imgTool makes images for tests.
func imgTool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput()
	require.NoError(t, err, "%s; %s", out, install)
}

// clean says that nothing half-made is left of machine and image.
func (h *host) clean() {
	h.Helper()
	for _, pattern := range []string{"*/*.part", ".images/*.part"} {
		left, err := filepath.Glob(filepath.Join(h.dir, pattern))
		require.NoError(h, err)
		require.Empty(h, left)
	}
}

func TestImagesOfEveryKindBoot(t *testing.T) {
	dir := t.TempDir()
	raw, qcow2 := filepath.Join(dir, "a.raw"), filepath.Join(dir, "a.qcow2")
	require.NoError(t, os.WriteFile(raw, boot0.Disk(), 0o600))
	imgTool(t, "convert", "-c", "-f", "raw", "-O", "qcow2", raw, qcow2)
	content, err := os.ReadFile(qcow2)
	require.NoError(t, err)
	url, _ := server(t, content)
	for name, image := range map[string]drivers.Image{
		"raw file":                  {URL: "file://" + raw, Format: "raw"},
		"qcow2 file with checksum":  {URL: "file://" + qcow2, Format: "qcow2", SHA256: hexSum(content)},
		"download":                  {URL: url + "/image", Format: "qcow2"},
		"download with checksum":    {URL: url + "/image", Format: "qcow2", SHA256: strings.ToUpper(hexSum(content))},
		"a disk of the exact size":  {URL: "file://" + exactly(t, dir, 1<<30), Format: "raw"},
		"the built-in one, unnamed": {URL: "builtin:boot0"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(h *host) {
				s := newSpec()
				s.Image = image
				require.NoError(h, h.d.Prepare(h.ctx(), s, quiet))
				require.NoError(h, h.d.Start(h.ctx(), s.ID, quiet))
				listens(h.T, h.d, s.ID)
				h.clean()
			})
		})
	}
}

// exactly makes a sparse boot0 disk of that size.
func exactly(t *testing.T, dir string, size int64) string {
	t.Helper()
	path := filepath.Join(dir, "exact.raw")
	require.NoError(t, os.WriteFile(path, boot0.Disk(), 0o600))
	require.NoError(t, os.Truncate(path, size))
	return path
}

func TestBadImagesAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	raw := boot0.Disk()
	require.NoError(t, os.WriteFile(file("raw"), raw, 0o600))
	imgTool(t, "create", "-q", "-f", "qcow2", "-b", file("raw"), "-F", "raw", file("backed"))
	imgTool(t, "create", "-q", "-f", "qcow2", "-o", "data_file="+file("data"), file("external"), "1M")
	imgTool(t, "create", "-q", "-f", "qcow2", file("large"), "2G")
	imgTool(t, "create", "-q", "-f", "qcow2", file("good"), "1M")
	header, err := os.ReadFile(file("good"))
	require.NoError(t, err)
	binary.BigEndian.PutUint32(header[4:], 9)
	require.NoError(t, os.WriteFile(file("version"), header, 0o600))
	require.NoError(t, os.WriteFile(file("short"), header[:20], 0o600))
	require.NoError(t, os.WriteFile(file("long"), nil, 0o600))
	require.NoError(t, os.Truncate(file("long"), 1<<30+512))
	url, _ := server(t, raw)

	for name, c := range map[string]struct {
		image drivers.Image
		says  string
	}{
		"backing file":       {drivers.Image{URL: "file://" + file("backed"), Format: "qcow2"}, "backing file"},
		"external data":      {drivers.Image{URL: "file://" + file("external"), Format: "qcow2"}, "other files"},
		"too large qcow2":    {drivers.Image{URL: "file://" + file("large"), Format: "qcow2"}, "does not fit"},
		"too large raw":      {drivers.Image{URL: "file://" + file("long"), Format: "raw"}, "do not fit"},
		"unknown version":    {drivers.Image{URL: "file://" + file("version"), Format: "qcow2"}, "version 9"},
		"cut off":            {drivers.Image{URL: "file://" + file("short"), Format: "qcow2"}, "not a qcow2"},
		"raw called qcow2":   {drivers.Image{URL: "file://" + file("raw"), Format: "qcow2"}, "not a qcow2"},
		"unknown format":     {drivers.Image{URL: "file://" + file("raw"), Format: "vmdk"}, "neither raw nor qcow2"},
		"missing file":       {drivers.Image{URL: "file://" + file("none"), Format: "raw"}, "no such file"},
		"device":             {drivers.Image{URL: "file:///dev/zero", Format: "raw"}, "not a regular file"},
		"wrong sum of file":  {drivers.Image{URL: "file://" + file("raw"), Format: "raw", SHA256: "00"}, "sha256"},
		"wrong sum":          {drivers.Image{URL: url + "/image", Format: "raw", SHA256: "00"}, "sha256"},
		"not found":          {drivers.Image{URL: url + "/none", Format: "raw"}, "404"},
		"unknown built-in":   {drivers.Image{URL: "builtin:nonsense"}, "no built-in"},
		"unknown scheme":     {drivers.Image{URL: "ftp://x/y", Format: "raw"}, "none of"},
		"file of a host":     {drivers.Image{URL: "file://raw", Format: "raw"}, "file:///path"},
		"unreadable address": {drivers.Image{URL: "http://[", Format: "raw"}, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, variants(t)[0])
			s := newSpec()
			s.Image = c.image
			err := h.d.Prepare(h.ctx(), s, quiet)
			require.ErrorIs(t, err, drivers.ErrBadImage)
			require.ErrorContains(t, err, c.says)
			h.clean()
			require.ErrorIs(t, h.d.Start(h.ctx(), s.ID, quiet), drivers.ErrNoMachine)
			require.NoError(t, h.d.Destroy(h.ctx(), s.ID, quiet))
			require.False(t, h.inspect(s.ID).Exists)
		})
	}
}

func TestBusyServerMayBeAskedAgain(t *testing.T) {
	url, _ := server(t, nil)
	h := newHost(t, variants(t)[0])
	s := newSpec()
	s.Image = drivers.Image{URL: url + "/busy", Format: "raw"}
	require.ErrorIs(t, h.d.Prepare(h.ctx(), s, quiet), drivers.ErrRetry)
	s.Image.URL = "http://127.0.0.1:1/image"
	require.ErrorIs(t, h.d.Prepare(h.ctx(), s, quiet), drivers.ErrRetry)
}

func TestImageIsFetchedOnceForAll(t *testing.T) {
	url, asked := server(t, boot0.Disk())
	h := newHost(t, variants(t)[0])
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s := newSpec()
			s.Image = drivers.Image{ID: "one", URL: url + "/image", Format: "raw"}
			if err := h.d.Prepare(h.ctx(), s, quiet); err != nil {
				t.Errorf("cannot prepare: %v", err)
			}
		})
	}
	all.Wait()
	h.restart()
	s := newSpec()
	s.Image = drivers.Image{ID: "one", URL: url + "/image", Format: "raw"}
	require.NoError(t, h.d.Prepare(h.ctx(), s, quiet))
	require.EqualValues(t, 1, asked.Load())
	s = newSpec()
	s.Image = drivers.Image{ID: "another", URL: url + "/image", Format: "raw"}
	require.NoError(t, h.d.Prepare(h.ctx(), s, quiet), "another image may have got the same address")
	require.EqualValues(t, 2, asked.Load())
}

// TestDownloadReportsAndStopsAtOnce has a server that sends a part, then nothing.
func TestDownloadReportsAndStopsAtOnce(t *testing.T) {
	content := make([]byte, 3<<20)
	gone := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4194304")
		_, _ = w.Write(content)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // the client has hung up
		close(gone)
	}))
	defer s.Close()
	h := newHost(t, variants(t)[0])
	spec := newSpec()
	spec.Image = drivers.Image{URL: s.URL + "/image", Format: "raw"}
	ctx, cancel := context.WithCancel(h.ctx())
	defer cancel()
	seen := 0
	err := h.d.Prepare(ctx, spec, func(p vm.Progress) {
		if p.Phase == "image" && p.Done > 0 {
			require.EqualValues(t, 4<<20, p.Total)
			require.Equal(t, "bytes", p.Unit)
			seen++
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, seen)
	<-gone
	h.clean()
	require.Equal(t, "half-made", h.inspect(spec.ID).Detail)
	require.NoError(t, h.d.Destroy(h.ctx(), spec.ID, quiet))
}

func TestHalfDownloadOfADeadAgentIsRemoved(t *testing.T) {
	h := newHost(t, variants(t)[0])
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, ".images", "x.part"), []byte("half"), 0o600))
	h.restart()
	h.clean()
}
