package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"leasehold/api/compute/v1"
	"leasehold/coord"
	"leasehold/tasks"
	"leasehold/vm"
)

// What tasks have to do with images: create, rebuild and rescue make disks of them, a snapshot makes one.

// images adds to an admission what it needs of images: the record of the one that a snapshot makes, which is there and
// cannot be used until the task has ended, and that the one which a disk is made of has a record.
func (a *admission) images(t *coord.Txn, task *vm.Task) {
	if a.order.Uses != "" {
		t.If(coord.Present(a.c.keys.Image(a.order.Uses)))
	}
	if a.order.Saves == nil {
		return
	}
	img := a.saving(task)
	key, name := a.c.keys.Image(img.ID), a.c.keys.Name(vm.KindImage, img.Project, img.Name)
	t.If(coord.Absent(key), coord.Absent(name))
	t.Then(coord.Put(key, img), coord.Put(name, nameOwner{vm.Schema, string(img.ID)}))
}

// saving is the record of the image that a snapshot makes, as the admission writes it; nil for another order.
func (a *admission) saving(task *vm.Task) *vm.Image {
	if a.order.Saves == nil {
		return nil
	}
	img := *a.order.Saves
	img.Task, img.Status, img.CreatedAt, img.UpdatedAt = task.ID, vm.ImageSaving, a.now, a.now
	return &img
}

// usable refuses an image that is not complete.
func usable(img *vm.Image) error {
	if img.Status == vm.ImageSaving {
		return &vm.Refusal{Why: vm.ReasonInUse, Task: img.Task, Message: fmt.Sprintf(
			"cannot use image %s (%s): task %s still saves it", img.ID, img.Name, img.Task)}
	}
	return nil
}

// imagesRefused makes the refusal of an admission that an image stood in the way of; nil when none did.
func (a *admission) imagesRefused(conflict *coord.ConflictError) error {
	if id := a.order.Uses; id != "" {
		for _, failed := range conflict.Failed {
			if failed == a.c.keys.Image(id) {
				return vm.Refuse(vm.ReasonNotFound, "cannot %s instance %s: image %s was deleted meanwhile", a.order.Verb, a.order.Instance, id)
			}
		}
	}
	if img := a.order.Saves; img != nil {
		return a.c.nameTaken(conflict, a.c.keys.Name(vm.KindImage, img.Project, img.Name), vm.KindImage, img.Name, img.Project)
	}
	return nil
}

// dropSaved has a delete that preempts a snapshot end what that has made outside the instance: the record of the image
// goes with the admission, its file with the machine.
func (a *admission) dropSaved(t *coord.Txn, task, running *vm.Task) {
	img, e, ok := a.c.savedBy(running)
	if !ok {
		return
	}
	task.Params, _ = json.Marshal(tasks.DeleteParams{Images: []vm.ImageID{img.ID}}) // strings only
	t.If(coord.Unchanged(e.Key, e.Mod))
	t.Then(coord.Delete(e.Key), coord.Delete(a.c.keys.Name(vm.KindImage, img.Project, img.Name)))
}

// savedBy is the record of the image that an open snapshot makes, as the cache has it.
func (c *Conductor) savedBy(task *vm.Task) (*vm.Image, *coord.Entry, bool) {
	id := savedID(task)
	if id == "" {
		return nil, nil, false
	}
	img, e, ok := coord.Load[vm.Image](c.cache, c.keys.Image(id))
	if !ok || img.Task != task.ID {
		return nil, nil, false
	}
	return img, e, true
}

// saved ends a snapshot for its image: complete, or gone without a trace.
func (w *worker) saved(t *coord.Txn) {
	img, e, ok := w.c.savedBy(w.kept.task)
	if !ok {
		return
	}
	t.If(coord.Unchanged(e.Key, e.Mod))
	if done := w.work.Saves; w.work.Task.Status == vm.TaskSucceeded && done != nil {
		t.Then(coord.Put(e.Key, done))
		return
	}
	t.Then(coord.Delete(e.Key), coord.Delete(w.c.keys.Name(vm.KindImage, img.Project, img.Name)))
}

// loadImages finds the records of the images that the task has to do with. The image of a create cannot go while its
// instance names it; that of a rebuild or a rescue cannot go while the open task does.
func (w *worker) loadImages() error {
	id := w.usedImage()
	if id != "" {
		img, err := w.image(id)
		if err != nil {
			return err
		}
		w.work.Image = img // nil when it is gone: the step fails with that reason
	}
	saved, err := w.image(savedID(w.work.Task))
	if saved != nil {
		own := *saved
		w.work.Saves = &own
	}
	return err
}

// savedID is the image that a snapshot makes; empty for another task.
func savedID(task *vm.Task) vm.ImageID {
	if task.Kind != vm.Snapshot {
		return ""
	}
	var p tasks.SnapshotParams
	_ = json.Unmarshal(task.Params, &p) // the step says what is wrong with them
	return p.Image
}

func (w *worker) usedImage() vm.ImageID {
	if w.work.Instance == nil {
		return ""
	}
	return imageUsedBy(w.work.Task, w.work.Instance)
}

// imageUsedBy is the image that an open task makes a disk of; empty for none.
func imageUsedBy(task *vm.Task, in *vm.Instance) vm.ImageID {
	switch task.Kind {
	case vm.Create:
		return in.Image
	case vm.Rebuild, vm.Rescue:
		var p tasks.ImageParams
		_ = json.Unmarshal(task.Params, &p) // the step says what is wrong with them
		return p.Image
	default:
		return ""
	}
}

// image is nil without an error when there is no such record.
func (w *worker) image(id vm.ImageID) (*vm.Image, error) {
	if id == "" {
		return nil, nil
	}
	if img, _, ok := coord.Load[vm.Image](w.c.cache, w.c.keys.Image(id)); ok {
		return img, nil
	}
	kv, err := w.c.store.Get(w.ctx, w.c.keys.Image(id))
	if errors.Is(err, coord.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img := new(vm.Image)
	return img, kv.Decode(img)
}

// sourceOf is what a command makes a disk of; nil for none.
func sourceOf(r *computev1.RunRequest) *computev1.ImageSource {
	switch {
	case r.GetCreate() != nil:
		return r.GetCreate().GetSpec().GetImage()
	case r.GetRebuild() != nil:
		return r.GetRebuild().GetSpec().GetImage()
	default:
		return r.GetRescue().GetImage()
	}
}

// addressOf is where the agent answers that has a host:// image; empty while it is down, and for other images.
func (c *Conductor) addressOf(image *computev1.ImageSource) string {
	rest, ok := strings.CutPrefix(image.GetUrl(), "host://")
	if !ok {
		return ""
	}
	host, _, _ := strings.Cut(rest, "/")
	alive, _ := c.hosts.alive(vm.HostName(host))
	return alive.Address
}

// dropImage has a host remove an image that has no record any more. A host that is down hears of it when it registers.
func (c *Conductor) dropImage(ctx context.Context, host vm.HostName, id vm.ImageID) {
	alive, ok := c.hosts.alive(host)
	if !ok {
		return
	}
	agent, err := c.agents.client(alive.Address)
	if err == nil {
		_, err = agent.DropImages(ctx, &computev1.DropImagesRequest{ImageIds: []string{string(id)}})
	}
	if err != nil {
		c.log.Warn("cannot drop an image, its host is told when it registers", "image", id, "host", host, "error", err)
	}
}
