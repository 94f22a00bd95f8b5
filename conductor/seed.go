package conductor

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"leasehold/coord"
	"leasehold/vm"
)

// DefaultProject is the project of requests that name none.
const DefaultProject vm.ProjectName = "default"

// project is the record of a project. It has no quota yet.
type project struct {
	Schema    int            `json:"schema"`
	ID        vm.ProjectName `json:"id"`
	Name      vm.ProjectName `json:"name"`
	CreatedAt time.Time      `json:"created_at"`
}

var seedFlavors = []struct {
	name string
	size vm.Size
}{
	{"tiny", vm.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}},
	{"small", vm.Size{VCPUs: 1, MemoryMiB: 512, DiskGiB: 5}},
	{"medium", vm.Size{VCPUs: 2, MemoryMiB: 2048, DiskGiB: 20}},
	{"large", vm.Size{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 40}},
}

// seed fills an empty store: generation, default project, flavors and image, in one transaction that only one of several
// conductors can win. The others see what it wrote.
func (c *Conductor) seed(ctx context.Context) error {
	if _, ok := c.cache.Entry(c.keys.Store()); ok {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	image := vm.Image{
		Schema: vm.Schema, ID: vm.ImageID(id.String()), Name: "default", Project: DefaultProject, URL: "builtin:boot0",
		Format: "raw", CreatedAt: now, UpdatedAt: now,
	}
	t := &coord.Txn{Name: "seed"}
	t.If(coord.Absent(c.keys.Store()))
	t.Then(
		coord.Put(c.keys.Store(), vm.Store{Schema: vm.Schema, ID: "store", Generation: 1, SeededAt: now}).Witness(),
		coord.Put(c.keys.Project(DefaultProject), project{vm.Schema, DefaultProject, DefaultProject, now}),
		coord.Put(c.keys.Image(image.ID), image),
		coord.Put(c.keys.Name(vm.KindImage, DefaultProject, image.Name), nameOwner{vm.Schema, string(image.ID)}),
	)
	for _, f := range seedFlavors {
		t.Then(coord.Put(c.keys.Flavor(f.name), vm.Flavor{
			Schema: vm.Schema, ID: f.name, Name: f.name, Size: f.size, CreatedAt: now, UpdatedAt: now,
		}))
	}
	rev, err := c.store.Commit(ctx, t)
	if conflict, ok := errors.AsType[*coord.ConflictError](err); ok {
		kv, _ := conflict.Now(c.keys.Store())
		rev, err = kv.Mod, nil
	}
	if err != nil {
		return err
	}
	return c.cache.WaitRevision(ctx, rev)
}
