package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"leasehold/agent"
	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

func fromStatus(err error) error { return rpc.FromStatus(err) }

// save makes a complete image of the machine's disk, of about that many bytes.
func (h *host) save(bytes int64) *computev1.ImageFile {
	h.t.Helper()
	h.hyp.set(func(y *hypervisor) { y.padding = bytes })
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, copying))
	return h.done(command(100, 3, exporting)).GetImage()
}

// read reads an image over the wire and checks that every chunk tells the size.
func (h *host) read(ctx context.Context, id string, offset int64) ([]byte, error) {
	stream, err := h.client.ReadImage(ctx, &computev1.ReadImageRequest{ImageId: id, Offset: offset})
	require.NoError(h.t, err)
	var all []byte
	var sizes []int64
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			require.NotEmpty(h.t, sizes, "even an empty rest tells the size")
			for _, size := range sizes {
				require.Equal(h.t, offset+int64(len(all)), size)
			}
			return all, nil
		}
		if err != nil {
			return nil, rpc.FromStatus(err)
		}
		all = append(all, chunk.GetData()...)
		sizes = append(sizes, chunk.GetSizeBytes())
	}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func TestAnExportTellsSizeAndDigestOfWhatIsThere(t *testing.T) {
	h := newHost(t)
	made := h.save(1 << 20)
	require.Equal(t, image, made.GetId())
	require.Equal(t, "raw", made.GetFormat())
	whole, err := h.read(t.Context(), image, 0)
	require.NoError(t, err)
	require.EqualValues(t, len(whole), made.GetSizeBytes())
	require.Equal(t, digest(whole), made.GetSha256())
	require.NotEmpty(t, await(t, "the file's end", h.hyp.closed))

	h.done(command(200, 1, byTask(other), deleting))
	_, err = h.read(t.Context(), image, 0)
	require.NoError(t, err, "an image outlives its machine")
}

func TestAnImageIsReadFromAnOffset(t *testing.T) {
	h := newHost(t)
	size := h.save(1 << 20).GetSizeBytes()
	whole, err := h.read(t.Context(), image, 0)
	require.NoError(t, err)
	for _, offset := range []int64{1, 1000, 256 << 10, size - 1, size} {
		rest, err := h.read(t.Context(), image, offset)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole[offset:], rest), "from %d on", offset)
	}
	for _, offset := range []int64{-1, size + 1} {
		_, err := h.read(t.Context(), image, offset)
		requireReason(t, vm.ReasonInvalidArgument, err)
	}
}

func TestOnlyCompleteImagesAreRead(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, copying))
	_, err := h.read(t.Context(), image, 0)
	requireReason(t, vm.ReasonNotFound, err)
	_, err = h.read(t.Context(), "../journal", 0)
	requireReason(t, vm.ReasonInvalidArgument, err)
}

func TestAReaderWhoLeavesClosesTheImage(t *testing.T) {
	h := newHost(t)
	h.save(64 << 20) // more than any window
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	stream, err := h.client.ReadImage(ctx, &computev1.ReadImageRequest{ImageId: image})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	require.Empty(t, h.hyp.closed)
	leave()
	require.EqualValues(t, image, await(t, "the file's end", h.hyp.closed))
}

func TestDropImagesTakesIdsOnly(t *testing.T) {
	h := newHost(t)
	h.save(1)
	drop := func(ids ...string) error {
		_, err := h.client.DropImages(t.Context(), &computev1.DropImagesRequest{ImageIds: ids})
		return rpc.FromStatus(err)
	}
	requireReason(t, vm.ReasonInvalidArgument, drop(image, "../journal"))
	require.NotContains(t, h.hyp.made(), "drop", "all or none")
	h.hyp.set(func(y *hypervisor) { y.jammed = errors.New("the disk is jammed") })
	err := drop(image, rescuer)
	requireReason(t, vm.ReasonDriver, err)
	require.ErrorContains(t, err, image)
	require.ErrorContains(t, err, rescuer, "one that fails keeps none of the others")
	h.hyp.set(func(y *hypervisor) { y.jammed = nil })
	require.NoError(t, drop(image, rescuer))
	require.NoError(t, drop(image))
	_, err = h.read(t.Context(), image, 0)
	requireReason(t, vm.ReasonNotFound, err)
}

func TestADeleteTakesHalfMadeImagesAlong(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, copying))
	h.refused(vm.ReasonInvalidArgument, command(200, 1, byTask(other), deleting, withImages("../x")))
	at := h.points.hold("driver:before:drop")
	gone := h.runBeside(command(200, 1, byTask(other), deleting, withImages(image, rescuer)))
	await(t, "the first drop", at.reached)
	require.Equal(t, []string{"prepare", "start", "snapshot", "destroy"}, h.hyp.made(), "the machine ends first")
	h.points.let("driver:before:drop")
	require.Equal(t, "done", await(t, "the delete", gone).value.GetOutcome())
	require.Equal(t, []string{"prepare", "start", "snapshot", "destroy", "drop", "drop"}, h.hyp.made())
	require.True(t, h.observe(machine).GetTombstone())
	h.refused(vm.ReasonKeyReused, command(200, 1, byTask(other), deleting, withImages(image)))
}

// A delete that left an image would be answered with success, and nobody would look for it any more.
func TestADeleteWhoseImageStaysIsNotDone(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	h.done(command(100, 2, copying))
	h.hyp.set(func(y *hypervisor) { y.jammed = errors.New("the disk is jammed") })
	result, err := h.run(command(200, 1, byTask(other), deleting, withImages(image)))
	require.NoError(t, err)
	require.Equal(t, "failed", result.GetOutcome())
	require.False(t, result.GetObservation().GetTombstone())
	h.hyp.set(func(y *hypervisor) { y.jammed = nil })
	h.done(command(200, 2, byTask(other), deleting, withImages(image)))
	require.True(t, h.observe(machine).GetTombstone())
}

func TestADropThatIsFencedBetweenTwoImagesStops(t *testing.T) {
	h := newHost(t)
	h.done(command(100, 1, creating()))
	at := h.points.hold("driver:after:destroy")
	late := h.runBeside(command(100, 2, deleting, withImages(image)))
	await(t, "the destroy", at.reached)
	raised := h.points.hold("journal:after:fence")
	fence := h.fenceBeside(raising(200))
	await(t, "the fence on disk", raised.reached)
	h.points.let("journal:after:fence")
	h.points.let("driver:after:destroy")
	require.NoError(t, await(t, "the fence", fence).err)
	require.Equal(t, "stale_fence", await(t, "the late delete", late).value.GetReason())
	require.NotContains(t, h.hyp.made(), "drop")
}

// source is the image as a conductor names it to another host.
func (h *host) source(made *computev1.ImageFile) *computev1.ImageSource {
	return &computev1.ImageSource{
		Id: made.GetId(), Name: "snap", Url: "host://h1/" + made.GetId(), Format: made.GetFormat(), Sha256: made.GetSha256(),
		Address: h.address,
	}
}

func imageAt(source *computev1.ImageSource) drivers.Image {
	return drivers.Image{ID: vm.ImageID(source.GetId()), URL: source.GetUrl(), SHA256: source.GetSha256(), Address: source.GetAddress()}
}

func TestAnAgentMakesADiskOfAnImageOfAnother(t *testing.T) {
	one, two := newHost(t), newHost(t, func(c *agent.Config) { c.Host = "h2" })
	two.hyp.set(func(y *hypervisor) { y.fetch = agent.NewFetch() })
	made := one.save(3 << 20)
	whole, err := one.read(t.Context(), image, 0)
	require.NoError(t, err)
	from := func(source *computev1.ImageSource) func(*computev1.RunRequest) {
		return func(r *computev1.RunRequest) {
			rebuilding(r)
			r.GetRebuild().Spec.Image = source
		}
	}
	two.done(command(100, 1, creating()))
	two.done(command(100, 2, from(one.source(made))))
	two.hyp.set(func(y *hypervisor) { require.Equal(t, digest(whole), digest([]byte(y.disks[machine]))) })

	require.NoError(t, one.stop())
	down := one.source(made)
	for i, address := range []string{down.GetAddress(), ""} {
		down.Address = address
		result, err := two.run(command(100, int64(3+i), from(down)))
		require.NoError(t, err)
		require.Equal(t, "failed", result.GetOutcome())
		require.True(t, result.GetRetryable(), result.GetMessage())
		require.Equal(t, "driver", result.GetReason(), "that host is away, and not this one")
	}
}

func TestAFetchGoesOnWhereItBroke(t *testing.T) {
	h := newHost(t)
	source := imageAt(h.source(h.save(32 << 20)))
	whole, err := h.read(t.Context(), image, 0)
	require.NoError(t, err)

	lines := make(chan net.Conn, 10)
	fetch := agent.NewFetch(grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		line, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		lines <- line
		return line, err
	}))
	body, size, err := fetch(t.Context(), source, 0)
	require.NoError(t, err)
	require.EqualValues(t, len(whole), size)
	begin := make([]byte, 300<<10)
	_, err = io.ReadFull(body, begin)
	require.NoError(t, err)
	require.NoError(t, (<-lines).Close())
	more, err := io.ReadAll(body)
	require.ErrorIs(t, err, drivers.ErrRetry)
	require.NoError(t, body.Close())
	begin = append(begin, more...)
	require.Less(t, len(begin), len(whole))

	body, size, err = fetch(t.Context(), source, int64(len(begin)))
	require.NoError(t, err)
	require.EqualValues(t, len(whole), size)
	rest, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Equal(t, digest(whole), digest(append(begin, rest...)))

	body, size, err = fetch(t.Context(), source, size)
	require.NoError(t, err)
	require.EqualValues(t, len(whole), size)
	rest, err = io.ReadAll(body)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.NoError(t, body.Close())
}

func TestAFetchSaysWhyItCannot(t *testing.T) {
	h := newHost(t)
	made := h.save(1)
	fetch := agent.NewFetch()
	for name, c := range map[string]struct {
		url  string
		want error
	}{
		"no such image":  {"host://h1/" + rescuer, drivers.ErrNoImage},
		"no id":          {"host://h1/", drivers.ErrBadImage},
		"no host":        {"host:///" + image, drivers.ErrBadImage},
		"a path":         {"host://h1/../" + image, drivers.ErrBadImage},
		"another scheme": {"https://h1/" + image, drivers.ErrBadImage},
	} {
		t.Run(name, func(t *testing.T) {
			source := imageAt(h.source(made))
			source.URL = c.url
			_, _, err := fetch(t.Context(), source, 0)
			require.ErrorIs(t, err, c.want)
			require.NotErrorIs(t, err, drivers.ErrRetry)
		})
	}
	_, _, err := fetch(t.Context(), imageAt(h.source(made)), made.GetSizeBytes()+1)
	require.Error(t, err)
	require.NotErrorIs(t, err, drivers.ErrRetry)
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	h := newHost(t)
	source := imageAt(h.source(h.save(32 << 20)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body, _, err := agent.NewFetch()(ctx, source, 0)
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(io.Discard, body)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, body.Close())
	require.EqualValues(t, image, await(t, "the file's end", h.hyp.closed))
}

// liar tells a size that is not that of what it sends.
type liar struct {
	computev1.UnimplementedComputeServer
	sends string
	size  int64
}

func (l *liar) ReadImage(_ *computev1.ReadImageRequest, stream grpc.ServerStreamingServer[computev1.ImageChunk]) error {
	return stream.Send(&computev1.ImageChunk{Data: []byte(l.sends), SizeBytes: l.size})
}

func TestAnImageThatIsNotAsLongAsToldIsNotTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &liar{}
	srv := grpc.NewServer()
	computev1.RegisterComputeServer(srv, l)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Stop()
		require.NoError(t, <-served)
	})
	source := drivers.Image{ID: image, URL: "host://h1/" + image, Address: listener.Addr().String()}

	l.sends, l.size = "half", 8
	body, size, err := agent.NewFetch()(t.Context(), source, 0)
	require.NoError(t, err)
	require.EqualValues(t, 8, size)
	got, err := io.ReadAll(body)
	require.ErrorIs(t, err, drivers.ErrRetry)
	require.Equal(t, "half", string(got))
	require.NoError(t, body.Close())

	l.sends, l.size = strings.Repeat("more", 3), 8
	_, _, err = agent.NewFetch()(t.Context(), source, 0)
	require.ErrorContains(t, err, "more came")
	require.NotErrorIs(t, err, drivers.ErrRetry)
}

func TestARegistrationTellsKeyPowersAndImages(t *testing.T) {
	h := newHost(t)
	h.save(1)
	h.done(command(100, 4, func(r *computev1.RunRequest) {
		copying(r)
		r.GetSnapshot().ImageId = rescuer
	}))
	h.restart()
	req := h.conductor.registered(t)
	require.Equal(t, []string{image, rescuer}, req.GetImages(), "half-made ones too")
	require.Len(t, req.GetPublicKey(), 32)
	info, err := h.hyp.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.Powers, req.GetPowers())
}

func TestImagesWithoutARecordAreDroppedBeforeTheActivation(t *testing.T) {
	h := newHost(t)
	h.save(1)
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.orphans, c.ttl = []string{"../journal", image}, 300e6 })
	at := h.points.hold("driver:before:drop")
	h.boot()
	await(t, "the drop", at.reached)
	h.conductor.next(t, "registering heartbeat") // the lease is kept meanwhile
	h.conductor.set(func(c *conductor) { require.False(t, c.active) })
	h.points.let("driver:before:drop")
	h.conductor.next(t, "activate")
	_, err := h.read(t.Context(), image, 0)
	requireReason(t, vm.ReasonNotFound, err)
}

func TestAnImageThatCannotBeDroppedKeepsNoHostAway(t *testing.T) {
	var log transcript
	h := newHost(t, logTo(&log))
	h.save(1)
	require.NoError(t, h.stop())
	h.conductor.set(func(c *conductor) { c.orphans = []string{image} })
	h.hyp.set(func(y *hypervisor) { y.jammed = errors.New("the disk is jammed") })
	h.start()
	require.Empty(t, h.conductor.registered(t).GetImages())
	require.Contains(t, log.String(), "the disk is jammed")
	h.hyp.set(func(y *hypervisor) { y.jammed = nil })
	h.restart()
	require.Equal(t, []string{image}, h.conductor.registered(t).GetImages())
	_, err := h.read(t.Context(), image, 0)
	requireReason(t, vm.ReasonNotFound, err)
}
