package agent

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

// The host's images as others see them: read by hosts that make disks of them, dropped when they have no record any more.

const (
	// chunkSize of an image on the wire: a message is far below gRPC's 4 MiB, and its own cost far below that of its content.
	chunkSize = 256 << 10
	// orphansLimit is for all images that a registration drops: the host is not schedulable until then. What is left is
	// told, and dropped, the next time.
	orphansLimit = 30 * time.Second
)

// ReadImage sends at least one chunk, because each tells the size. It ends with its caller, or with the agent.
func (s *server) ReadImage(req *computev1.ReadImageRequest, stream grpc.ServerStreamingServer[computev1.ImageChunk]) (err error) {
	id, err := imageOf(req.GetImageId())
	if err != nil {
		return err
	}
	image, err := s.a.openImage(stream.Context(), id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	if req.GetOffset() < 0 || req.GetOffset() > image.Size() {
		return invalid("cannot read image %s from byte %d: it has %d", id, req.GetOffset(), image.Size())
	}
	return s.send(io.NewSectionReader(image, req.GetOffset(), image.Size()-req.GetOffset()), image.Size(), stream)
}

func (a *Agent) openImage(ctx context.Context, id vm.ImageID) (drivers.ImageReader, error) {
	p, ok := a.driver.(drivers.Snapshotter)
	if !ok {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot read image %s: the driver %s makes none", id, a.info.Driver)
	}
	image, err := p.OpenImage(ctx, id)
	if err != nil {
		return nil, vm.Refuse(reasonOf(err), "cannot read image %s: %v", id, err)
	}
	return image, nil
}

// send has a buffer of its own for each message, because gRPC may still be sending the last one.
func (s *server) send(from *io.SectionReader, size int64, stream grpc.ServerStreamingServer[computev1.ImageChunk]) error {
	for left := from.Size(); ; {
		if isClosed(s.a.halted) {
			return unavailable("%v", errStopping)
		}
		data := make([]byte, min(left, chunkSize))
		if _, err := io.ReadFull(from, data); err != nil {
			return vm.Refuse(vm.ReasonDriver, "cannot read an image: %v", err)
		}
		if err := stream.Send(&computev1.ImageChunk{Data: data, SizeBytes: size}); err != nil {
			return err
		}
		if left -= int64(len(data)); left == 0 {
			return nil
		}
	}
}

// DropImages drops all that it can, and says what it could not.
func (s *server) DropImages(ctx context.Context, req *computev1.DropImagesRequest) (*computev1.DropImagesResponse, error) {
	images, err := imagesOf(req.GetImageIds()...)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, id := range images {
		failures = append(failures, s.a.dropImage(ctx, id))
	}
	return &computev1.DropImagesResponse{}, errors.Join(failures...)
}

func (a *Agent) dropImage(ctx context.Context, id vm.ImageID) error {
	call := dropCall(id)
	a.point("driver:before:" + call.name)
	err := call.do(ctx, a.driver, func(vm.Progress) {})
	a.point("driver:after:" + call.name)
	if err != nil {
		return vm.Refuse(reasonOf(err), "cannot drop image %s: %v", id, err)
	}
	return nil
}

// imagesHere is for the introduction. Of what is not told nothing is dropped, so a list that cannot be made keeps no host
// away.
func (a *Agent) imagesHere(ctx context.Context) []string {
	p, ok := a.driver.(drivers.Snapshotter)
	if !ok {
		return nil
	}
	images, err := p.Images(ctx)
	if err != nil {
		a.log.Warn("cannot list the images of this host, those without a record stay", "error", err)
		return nil
	}
	words := make([]string, len(images))
	for i, id := range images {
		words[i] = string(id)
	}
	return words
}

// dropOrphans removes images that have no record any more. One that cannot be removed wastes room and harms nobody: it
// keeps no host from registering.
func (a *Agent) dropOrphans(ctx context.Context, ids []string) {
	ctx, cancel := context.WithTimeout(ctx, orphansLimit)
	defer cancel()
	for i, id := range ids {
		if ctx.Err() != nil {
			a.log.Warn("images without a record stay until the next registration", "images", len(ids)-i, "error", context.Cause(ctx))
			return
		}
		image, err := imageOf(id)
		if err == nil {
			err = a.dropImage(ctx, image)
		}
		if err != nil {
			a.log.Warn("an image without a record stays until the next registration", "image", id, "error", err)
			continue
		}
		a.log.Info("dropped an image that has no record any more", "image", image)
	}
}
