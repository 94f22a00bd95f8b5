package conductor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// imageOf finds an image by id, name, or the beginning of an id. Images of the default project are everybody's.
func (c *Conductor) imageOf(ctx context.Context, project vm.ProjectName, typed string) (*vm.Image, int64, error) {
	id, err := c.imageID(ctx, project, typed)
	if err != nil {
		return nil, 0, err
	}
	img, mod, err := load[vm.Image](ctx, c, c.keys.Image(vm.ImageID(id)))
	switch {
	case errors.Is(err, coord.ErrNotFound):
		return nil, 0, notFound(vm.KindImage, typed)
	case err == nil && !sees(project, img):
		return nil, 0, notFound(vm.KindImage, typed)
	}
	return img, mod, err
}

func sees(project vm.ProjectName, img *vm.Image) bool {
	return img.Project == project || img.Project == DefaultProject
}

func (c *Conductor) imageID(ctx context.Context, project vm.ProjectName, typed string) (string, error) {
	if isID(typed) {
		return typed, nil
	}
	if !validName(typed) {
		return "", notFound(vm.KindImage, typed)
	}
	for _, p := range []vm.ProjectName{project, DefaultProject} {
		owner, _, err := load[nameOwner](ctx, c, c.keys.Name(vm.KindImage, p, typed))
		if err == nil {
			return owner.ID, nil
		}
		if !errors.Is(err, coord.ErrNotFound) {
			return "", err
		}
	}
	id, err := c.resolvePrefix(coord.Images, vm.KindImage, typed, project, DefaultProject)
	if id == "" && err == nil {
		err = notFound(vm.KindImage, typed)
	}
	return id, err
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// CreateImage registers an image by URL. Nothing is fetched: the first host that makes a disk of it does.
func (s *service) CreateImage(ctx context.Context, req *conductorv1.CreateImageRequest) (*conductorv1.Image, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := checkImage(req); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot make an id: %w", err)
	}
	now := time.Now().UTC()
	img := &vm.Image{
		Schema: vm.Schema, ID: vm.ImageID(id.String()), Name: req.GetName(), Project: who.project, URL: req.GetUrl(),
		Format: req.GetFormat(), SHA256: strings.ToLower(req.GetSha256()), CreatedAt: now, UpdatedAt: now,
	}
	if img.Format == "" {
		img.Format = "raw"
		if strings.HasSuffix(img.URL, ".qcow2") {
			img.Format = "qcow2"
		}
	}
	name := s.c.keys.Name(vm.KindImage, who.project, img.Name)
	t := &coord.Txn{Name: "image.create"}
	t.If(coord.Absent(s.c.keys.Image(img.ID)), coord.Absent(name))
	t.Then(coord.Put(s.c.keys.Image(img.ID), img).Witness(), coord.Put(name, nameOwner{vm.Schema, string(img.ID)}))
	rev, err := s.c.store.Commit(ctx, t)
	if conflict, ok := errors.AsType[*coord.ConflictError](err); ok {
		if taken := s.c.nameTaken(conflict, name, vm.KindImage, img.Name, who.project); taken != nil {
			return nil, taken
		}
	}
	if err != nil {
		return nil, err
	}
	s.c.settled(ctx, rev)
	return imageView(img, rev), nil
}

func checkImage(req *conductorv1.CreateImageRequest) error {
	if err := checkName(vm.KindImage, req.GetName()); err != nil {
		return err
	}
	u, err := url.Parse(req.GetUrl())
	good := err == nil && len(req.GetUrl()) <= maxMetadataValue && (u.Scheme == "builtin" && u.Opaque != "" ||
		u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/") ||
		(u.Scheme == "http" || u.Scheme == "https") && u.Host != "")
	if !good {
		return vm.Refuse(vm.ReasonInvalidArgument,
			"cannot register image %q from the URL %s: it is builtin:<name>, file:///path, http:// or https://", req.GetName(), shown(req.GetUrl()))
	}
	if f := req.GetFormat(); f != "" && f != "raw" && f != "qcow2" {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot register image %q with format %s: it is raw or qcow2", req.GetName(), shown(f))
	}
	if d := strings.ToLower(req.GetSha256()); d != "" && !hexDigest.MatchString(d) {
		return vm.Refuse(vm.ReasonInvalidArgument, "cannot register image %q with sha256 %s: it has 64 hexadecimal digits", req.GetName(), shown(d))
	}
	return nil
}

// ListImages lists the project's images and those of the default project, by id.
func (s *service) ListImages(ctx context.Context, req *conductorv1.ListRequest) (*conductorv1.ListImagesResponse, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	out := &conductorv1.ListImagesResponse{Revision: s.c.cache.Revision()}
	list := listing[rec[vm.Image]]{
		id: func(i rec[vm.Image]) string { return string(i.is.ID) }, query: "images\x00" + string(who.project),
	}
	for _, img := range records[vm.Image](s.c, coord.Images) {
		if sees(who.project, img.is) {
			list.items = append(list.items, img)
		}
	}
	part, next, err := list.page(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	for _, img := range part {
		out.Images = append(out.Images, imageView(img.is, img.mod))
	}
	out.NextPageToken = next
	return out, nil
}

// GetImage shows one image.
func (s *service) GetImage(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Image, error) {
	who, err := callerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.c.seen(ctx, req.GetMinRevision()); err != nil {
		return nil, err
	}
	img, mod, err := s.c.imageOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	return imageView(img, mod), nil
}

// DeleteImage is refused with in_use while an instance was made from it: it may have to be made again.
func (s *service) DeleteImage(ctx context.Context, req *conductorv1.DeleteRequest) (*conductorv1.Empty, error) {
	who, err := callerOf(ctx, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	img, mod, err := s.c.imageOf(ctx, who.project, req.GetId())
	if err != nil {
		return nil, err
	}
	if img.Project != who.project {
		return nil, vm.Refuse(vm.ReasonPermissionDenied, "cannot delete image %s: it belongs to project %s", img.ID, img.Project)
	}
	if err := usable(img); err != nil {
		return nil, err
	}
	key := s.c.keys.Image(img.ID)
	for range admitTries {
		// What the list shows and the guard on what came after it are all instances there are; a create that comes later
		// compares that the image is there. A task that makes a disk of it writes its instance when it begins.
		user, rev, err := s.c.userOf(ctx, img.ID)
		if err != nil {
			return nil, err
		}
		if user != "" {
			return nil, vm.Refuse(vm.ReasonInUse, "cannot delete image %s: %s", img.ID, user)
		}
		t := &coord.Txn{Name: "image.delete"}
		t.If(coord.Unchanged(key, mod), coord.NoneNewer(s.c.keys.Table(coord.Instances), rev))
		t.Then(coord.Delete(key), coord.Delete(s.c.keys.Name(vm.KindImage, img.Project, img.Name)))
		t.Then(s.c.removal(vm.Resource{Kind: vm.KindImage, ID: string(img.ID)}, who))
		done, err := s.c.store.Commit(ctx, t)
		conflict, refused := errors.AsType[*coord.ConflictError](err)
		if err == nil {
			s.c.settled(ctx, done)
			if img.Host != "" {
				s.c.dropImage(ctx, img.Host, img.ID)
			}
			return &conductorv1.Empty{}, nil
		}
		if !refused {
			return nil, err
		}
		if _, there := conflict.Now(key); !there {
			return nil, notFound(vm.KindImage, req.GetId())
		}
	}
	return nil, vm.Refuse(vm.ReasonLocked, "cannot delete image %s: instances kept being made; try again", img.ID)
}

// userOf says who needs an image, in etcd, and the revision at which it looked: an instance that was made from it or is
// rescued with it, or an open task that makes a disk of it.
func (c *Conductor) userOf(ctx context.Context, id vm.ImageID) (user string, rev int64, err error) {
	page, err := c.store.List(ctx, c.keys.Table(coord.Instances), "", 0, false)
	if err != nil {
		return "", 0, err
	}
	instances := map[vm.InstanceID]*vm.Instance{}
	for _, kv := range page.KVs {
		in := new(vm.Instance)
		if err := kv.Decode(in); err != nil {
			return "", 0, err
		}
		instances[in.ID] = in
		switch {
		case in.Image == id:
			return fmt.Sprintf("instance %s (%s) was made from it", in.ID, in.Name), page.Revision, nil
		case in.Rescue != nil && in.Rescue.Image == id:
			return fmt.Sprintf("instance %s (%s) is rescued with it", in.ID, in.Name), page.Revision, nil
		}
	}
	open, err := c.store.List(ctx, c.keys.Table(coord.Tasks), "", 0, false)
	if err != nil {
		return "", 0, err
	}
	for _, kv := range open.KVs {
		t := new(vm.Task)
		if err := kv.Decode(t); err != nil {
			return "", 0, err
		}
		if in := instances[t.Instance]; in != nil && imageUsedBy(t, in) == id {
			return fmt.Sprintf("task %s (%s) makes a disk of it", t.ID, t.Kind), page.Revision, nil
		}
	}
	return "", page.Revision, nil
}

// removed says who removed a record that has no history of tasks.
type removed struct {
	Schema   int            `json:"schema"`
	Resource vm.Resource    `json:"resource"`
	Project  vm.ProjectName `json:"project"`
	By       string         `json:"by"`
	At       time.Time      `json:"at"`
}

// removal is the witness of a transaction that removes a record.
func (c *Conductor) removal(r vm.Resource, who caller) coord.Write {
	return coord.Put(c.keys.Audit(r), removed{vm.Schema, r, who.project, who.by, time.Now().UTC()}).Witness()
}
