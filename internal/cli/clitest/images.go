package clitest

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// findImage resolves an id, the beginning of one, or a name; nil when there is none. Called with the mutex.
func (c *Cluster) findImage(ref string) *conductorv1.Image {
	for _, i := range c.images {
		if i.GetName() == ref || strings.HasPrefix(i.GetId(), ref) {
			return i
		}
	}
	return nil
}

// usable refuses an image that is not there or not complete. Called with the mutex.
func (c *Cluster) usable(ref string) error {
	img := c.findImage(ref)
	switch {
	case img == nil:
		return unknownImage(ref)
	case img.GetStatus() == string(vm.ImageSaving):
		return vm.Refuse(vm.ReasonInUse, "cannot use image %s: task %s still saves it", img.GetId(), img.GetTask())
	}
	return nil
}

// saves is the image that a snapshot makes. Called with the mutex.
func (c *Cluster) saves(name, task string) *conductorv1.Image {
	img := &conductorv1.Image{
		Id: id(2, len(c.images)+1), Name: name, Project: "default", Format: "raw", Status: string(vm.ImageSaving), Task: task,
		CreatedAt: timestamppb.New(Began), Revision: c.revision,
	}
	c.images = append(c.images, img)
	return img
}

// saved completes the image that a task makes, or takes it away. Called with the mutex.
func (c *Cluster) saved(t *conductorv1.Task, status vm.TaskStatus) {
	at := slices.IndexFunc(c.images, func(i *conductorv1.Image) bool { return i.GetTask() == t.GetId() })
	if at < 0 {
		return
	}
	if img := c.images[at]; status == vm.TaskSucceeded {
		img.Status, img.Task, img.Host, img.SizeBytes, img.Revision = string(vm.ImageActive), "", "h1", 1<<20, c.revision
		return
	}
	c.images = slices.Delete(c.images, at, at+1)
}

func (c conductor) CreateImage(_ context.Context, req *conductorv1.CreateImageRequest) (img *conductorv1.Image, err error) {
	c.change(func() {
		if c.findImage(req.GetName()) != nil {
			err = taken(req.GetName())
			return
		}
		img = c.saves(req.GetName(), "")
		img.Url, img.Status, img.Sha256 = req.GetUrl(), string(vm.ImageActive), req.GetSha256()
		img = proto.CloneOf(img)
	})
	return img, err
}

func (c conductor) ListImages(context.Context, *conductorv1.ListRequest) (*conductorv1.ListImagesResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &conductorv1.ListImagesResponse{Revision: c.revision}
	for _, img := range c.images {
		r.Images = append(r.Images, proto.CloneOf(img))
	}
	return r, nil
}

func (c conductor) GetImage(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if img := c.findImage(req.GetId()); img != nil {
		return proto.CloneOf(img), nil
	}
	return nil, unknownImage(req.GetId())
}

func (c conductor) DeleteImage(_ context.Context, req *conductorv1.DeleteRequest) (*conductorv1.Empty, error) {
	var err error
	c.change(func() {
		img := c.findImage(req.GetId())
		if img == nil {
			err = unknownImage(req.GetId())
			return
		}
		for _, i := range c.instances {
			if i.GetImage() == img.GetId() {
				err = vm.Refuse(vm.ReasonInUse, "cannot delete image %s: instance %s was made from it", img.GetId(), i.GetId())
				return
			}
		}
		c.images = slices.DeleteFunc(c.images, func(is *conductorv1.Image) bool { return is == img })
	})
	if err != nil {
		return nil, err
	}
	return &conductorv1.Empty{}, nil
}

func unknownImage(ref string) error {
	return vm.Refuse(vm.ReasonNotFound, "cannot find an image %q", ref)
}

func taken(name string) error {
	return vm.Refuse(vm.ReasonAlreadyExists, "cannot give a second image the name %q; choose another", name)
}
