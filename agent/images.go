package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

// imageChunk is how much of an image one message carries.
const imageChunk = 256 << 10

// images are the ids of all that snapshots have made here; nil where the driver makes none.
func (a *Agent) images(ctx context.Context) ([]string, error) {
	p, ok := a.driver.(drivers.Snapshotter)
	if !ok {
		return nil, nil
	}
	ids, err := p.Images(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the images of host %s: %w", a.host, err)
	}
	var out []string
	for _, id := range ids {
		out = append(out, string(id))
	}
	return out, nil
}

// dropImages removes images that have no record. One that cannot be removed keeps nobody from registering: it is asked for
// again the next time.
func (a *Agent) dropImages(ctx context.Context, ids []string) {
	p, ok := a.driver.(drivers.Snapshotter)
	if !ok {
		return
	}
	for _, id := range ids {
		a.log.Info("dropping an image without a record", "image", id)
		if err := p.DropImage(ctx, vm.ImageID(id)); err != nil {
			a.log.Warn("cannot drop an image", "image", id, "error", err)
		}
	}
}

// DropImages removes images that have no record any more.
func (s *server) DropImages(ctx context.Context, req *computev1.DropImagesRequest) (*computev1.DropImagesResponse, error) {
	p, ok := s.a.driver.(drivers.Snapshotter)
	if !ok {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot drop images: the driver makes none")
	}
	ids, err := imagesOf(req.GetImageIds()...)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := p.DropImage(ctx, id); err != nil {
			return nil, vm.Refuse(vm.ReasonDriver, "cannot drop image %s: %v", id, err)
		}
	}
	return &computev1.DropImagesResponse{}, nil
}

// ReadImage sends a complete image from an offset on.
func (s *server) ReadImage(req *computev1.ReadImageRequest, stream grpc.ServerStreamingServer[computev1.ImageChunk]) error {
	p, ok := s.a.driver.(drivers.Snapshotter)
	if !ok {
		return vm.Refuse(vm.ReasonUnsupported, "cannot read images: the driver makes none")
	}
	ids, err := imagesOf(req.GetImageId())
	if err != nil {
		return err
	}
	image, err := p.OpenImage(stream.Context(), ids[0])
	if errors.Is(err, drivers.ErrNoImage) {
		return vm.Refuse(vm.ReasonNotFound, "cannot read image %s: host %s does not have it", ids[0], s.a.host)
	}
	if err != nil {
		return vm.Refuse(vm.ReasonDriver, "cannot read image %s: %v", ids[0], err)
	}
	defer image.Close()
	if req.GetOffset() < 0 || req.GetOffset() > image.Size() {
		return invalid("cannot read image %s from %d: it has %d bytes", ids[0], req.GetOffset(), image.Size())
	}
	buf, at := make([]byte, imageChunk), req.GetOffset()
	for {
		n, err := image.ReadAt(buf, at)
		if n > 0 || at == req.GetOffset() {
			if err := stream.Send(&computev1.ImageChunk{Data: buf[:n], SizeBytes: image.Size()}); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), at >= image.Size():
			return nil
		case err != nil:
			return vm.Refuse(vm.ReasonDriver, "cannot read image %s: %v", ids[0], err)
		}
	}
}

// Usage tells what each vCPU has run and waited.
func (s *server) Usage(ctx context.Context, req *computev1.UsageRequest) (*computev1.UsageResponse, error) {
	if !legalID.MatchString(req.GetInstanceId()) {
		return nil, invalid("cannot tell the usage of the instance %q: not an id", req.GetInstanceId())
	}
	p, ok := s.a.driver.(drivers.Meter)
	if !ok {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot tell the usage of instance %s: the driver of host %s does not count it", req.GetInstanceId(), s.a.host)
	}
	all, err := p.Usage(ctx, vm.InstanceID(req.GetInstanceId()))
	if err != nil {
		return nil, vm.Refuse(reasonOf(err), "cannot tell the usage of instance %s: %v", req.GetInstanceId(), err)
	}
	out := &computev1.UsageResponse{}
	for _, v := range all {
		out.Vcpus = append(out.Vcpus, &computev1.VCPUUsage{Run: durationpb.New(v.Run), Wait: durationpb.New(v.Wait)})
	}
	return out, nil
}
