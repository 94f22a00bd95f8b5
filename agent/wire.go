package agent

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/internal/sealed"
	"leasehold/vm"
)

// kinds are the resources that carry fences here.
var kinds = []vm.Kind{vm.KindInstance, vm.KindVolume, vm.KindPort, vm.KindHost}

// legalID is what may become part of a path or a key on this host.
var legalID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// commander is what FenceRequest and RunRequest have in common.
type commander interface {
	GetInstanceId() string
	GetTaskId() string
	GetFence() *computev1.FenceToken
	GetResources() []*computev1.ResourceRef
	GetHostEpoch() int64
	GetConductor() string
}

// claimOf checks all that the order of commands rests on. The instance is always among the resources.
func claimOf(req commander) (claim, error) {
	c := claim{
		fence:     vm.Fence{Generation: req.GetFence().GetGeneration(), Revision: req.GetFence().GetRevision()},
		task:      vm.TaskID(req.GetTaskId()),
		instance:  vm.InstanceID(req.GetInstanceId()),
		resources: []vm.Resource{{Kind: vm.KindInstance, ID: req.GetInstanceId()}},
		epoch:     req.GetHostEpoch(),
		conductor: req.GetConductor(),
	}
	if c.fence.Revision <= 0 {
		return claim{}, invalid("cannot take a command without a fence")
	}
	if !legalID.MatchString(req.GetTaskId()) {
		return claim{}, invalid("cannot take a command of the task %q: not an id", req.GetTaskId())
	}
	for _, r := range req.GetResources() {
		if !slices.Contains(kinds, vm.Kind(r.GetKind())) {
			return claim{}, invalid("cannot take a command for %s/%s: no such kind", r.GetKind(), r.GetId())
		}
		c.resources = append(c.resources, vm.Resource{Kind: vm.Kind(r.GetKind()), ID: r.GetId()})
	}
	for _, r := range c.resources {
		if !legalID.MatchString(r.ID) {
			return claim{}, invalid("cannot take a command for the %s %q: not an id", r.Kind, r.ID)
		}
	}
	slices.SortFunc(c.resources, vm.Resource.Compare)
	c.resources = slices.Compact(c.resources)
	return c, nil
}

// orderOf takes the key that opens what is sealed to this host.
func orderOf(req *computev1.RunRequest, key *sealed.Key) (order, error) {
	c, err := claimOf(req)
	if err != nil {
		return order{}, err
	}
	if req.GetSequence() <= 0 {
		return order{}, invalid("cannot do step %q: sequences begin at 1", req.GetStep())
	}
	act, err := actionOf(c, req, key)
	if err != nil {
		return order{}, err
	}
	o := order{claim: c, sequence: req.GetSequence(), step: req.GetStep(), action: act}
	if o.step == "" {
		o.step = act.name
	}
	return o, nil
}

func actionOf(c claim, req *computev1.RunRequest, key *sealed.Key) (action, error) {
	id := c.instance
	switch x := req.GetAction().(type) {
	case *computev1.RunRequest_Create:
		spec, err := specOf(x.Create.GetSpec(), id)
		return create(spec), err
	case *computev1.RunRequest_Start:
		return start(id), nil
	case *computev1.RunRequest_Stop:
		grace, err := graceOf(x.Stop.GetGrace())
		return stop(id, grace), err
	case *computev1.RunRequest_Reboot:
		grace, err := graceOf(x.Reboot.GetGrace())
		return reboot(id, grace), err
	case *computev1.RunRequest_Pause:
		return pause(id), nil
	case *computev1.RunRequest_Unpause:
		return unpause(id), nil
	case *computev1.RunRequest_Destroy:
		images, err := imagesOf(x.Destroy.GetImages()...)
		return destroy(id, x.Destroy.GetTombstone(), images), err
	case *computev1.RunRequest_Suspend:
		return suspend(id), nil
	case *computev1.RunRequest_Resume:
		return resume(id), nil
	case *computev1.RunRequest_Rescue:
		_, err := imagesOf(x.Rescue.GetImage().GetId()) // by which Inspect names the disk
		return rescue(id, sourceOf(x.Rescue.GetImage())), err
	case *computev1.RunRequest_Unrescue:
		return unrescue(id), nil
	case *computev1.RunRequest_Rebuild:
		spec, err := specOf(x.Rebuild.GetSpec(), id)
		return rebuild(spec), err
	default:
		return savingOf(c, req, key)
	}
}

// savingOf is actionOf for what concerns more than the machine: images of its disk, and its guest.
func savingOf(c claim, req *computev1.RunRequest, key *sealed.Key) (action, error) {
	switch x := req.GetAction().(type) {
	case *computev1.RunRequest_Snapshot:
		image, err := imageOf(x.Snapshot.GetImageId())
		return snapshot(c.instance, image), err
	case *computev1.RunRequest_Export:
		image, err := imageOf(x.Export.GetImageId())
		return export(c.instance, image), err
	case *computev1.RunRequest_Drop:
		image, err := imageOf(x.Drop.GetImageId())
		return drop(image), err
	case *computev1.RunRequest_SetPassword:
		if x.SetPassword.GetUser() == "" {
			return action{}, invalid("cannot set a password of instance %s: no user is named", c.instance)
		}
		return setPassword(c, x.SetPassword.GetUser(), x.SetPassword.GetSealed(), key), nil
	default:
		return action{}, vm.Refuse(vm.ReasonUnsupported, "cannot do step %q: this agent does not know its action", req.GetStep())
	}
}

// imageOf checks an image's id, which becomes part of a path on this host.
func imageOf(id string) (vm.ImageID, error) {
	if !legalID.MatchString(id) {
		return "", invalid("cannot take the image %q: not an id", id)
	}
	return vm.ImageID(id), nil
}

func imagesOf(ids ...string) ([]vm.ImageID, error) {
	var images []vm.ImageID
	for _, id := range ids {
		image, err := imageOf(id)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

func graceOf(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < 0 {
		return 0, invalid("cannot give the guest %s", d)
	}
	return d.AsDuration(), nil
}

// specOf is the spec of the instance that the command names, and of no other.
func specOf(s *computev1.MachineSpec, id vm.InstanceID) (drivers.Spec, error) {
	spec := drivers.Spec{
		ID:       vm.InstanceID(s.GetId()),
		Name:     s.GetName(),
		Size:     vm.Size{VCPUs: int(s.GetVcpus()), MemoryMiB: vm.MiB(s.GetMemoryMib()), DiskGiB: vm.GiB(s.GetDiskGib())},
		Image:    sourceOf(s.GetImage()),
		Metadata: s.GetMetadata(),
	}
	if spec.ID != id {
		return spec, invalid("cannot make the disk of instance %s from the spec of %q", id, spec.ID)
	}
	return spec, nil
}

func sourceOf(image *computev1.ImageSource) drivers.Image {
	return drivers.Image{
		ID: vm.ImageID(image.GetId()), Name: image.GetName(), URL: image.GetUrl(),
		Format: image.GetFormat(), SHA256: image.GetSha256(), Address: image.GetAddress(),
	}
}

func fenceToken(f vm.Fence) *computev1.FenceToken {
	return &computev1.FenceToken{Generation: f.Generation, Revision: f.Revision}
}

func journalOf(steps []stepRecord) []*computev1.JournalEntry {
	entries := make([]*computev1.JournalEntry, len(steps))
	for i, s := range steps {
		entries[i] = &computev1.JournalEntry{
			Fence: fenceToken(s.Fence), Sequence: s.Sequence, Step: s.Step,
			Outcome: string(s.Outcome), Message: legible(s.Message), TaskId: string(s.Task),
		}
	}
	return entries
}

func progressUpdate(p vm.Progress) *computev1.RunUpdate {
	return &computev1.RunUpdate{Update: &computev1.RunUpdate_Progress{Progress: &computev1.StepProgress{
		Phase: legible(p.Phase), Done: p.Done, Total: p.Total, Unit: legible(p.Unit), Note: legible(p.Note),
	}}}
}

func resultUpdate(v verdict, obs *computev1.Observation) *computev1.RunUpdate {
	return &computev1.RunUpdate{Update: &computev1.RunUpdate_Result{Result: &computev1.StepResult{
		Outcome: string(v.Outcome), Reason: string(v.Reason), Message: legible(v.Message), Retryable: v.Retryable,
		Observation: obs, Image: fileOf(v.Image),
	}}}
}

func fileOf(f *drivers.ImageFile) *computev1.ImageFile {
	if f == nil {
		return nil
	}
	return &computev1.ImageFile{Id: string(f.ID), SizeBytes: f.SizeBytes, Sha256: f.SHA256, Format: f.Format}
}

// legible makes a hypervisor's words fit for a protobuf string, which must be UTF-8.
func legible(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func invalid(format string, args ...any) error {
	return vm.Refuse(vm.ReasonInvalidArgument, format, args...)
}

// unavailable says: not now, ask again. Nothing is wrong with the request.
func unavailable(format string, args ...any) error {
	return vm.Refuse(vm.ReasonStoreUnavailable, format, args...)
}
