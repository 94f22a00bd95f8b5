package agent_test

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	computev1 "leasehold/api/compute/v1"
)

// The one machine and the one task that most tests are about.
const (
	machine = "0192f0a0-0000-7000-8000-000000000001"
	task    = "0192f0a0-0000-7000-8000-00000000aaaa"
	other   = "0192f0a0-0000-7000-8000-00000000bbbb" // another task
	epoch   = 7                                      // the first that the conductor gives
)

func token(revision int64) *computev1.FenceToken {
	return &computev1.FenceToken{Generation: generation, Revision: revision}
}

// command makes a RunRequest for the machine. Options change it.
func command(revision, sequence int64, change ...func(*computev1.RunRequest)) *computev1.RunRequest {
	req := &computev1.RunRequest{
		Fence: token(revision), Sequence: sequence, TaskId: task, InstanceId: machine, HostEpoch: epoch, Conductor: "c1",
		Resources: []*computev1.ResourceRef{{Kind: "instance", Id: machine}},
		Action:    &computev1.RunRequest_Start{Start: &computev1.StartMachine{}},
	}
	for _, c := range change {
		c(req)
	}
	return req
}

func byTask(id string) func(*computev1.RunRequest) {
	return func(r *computev1.RunRequest) { r.TaskId = id }
}

func on(id string) func(*computev1.RunRequest) {
	return func(r *computev1.RunRequest) {
		r.InstanceId = id
		r.Resources = []*computev1.ResourceRef{{Kind: "instance", Id: id}}
		if c := r.GetCreate(); c != nil {
			c.Spec.Id = id
		}
	}
}

func with(kind, id string) func(*computev1.RunRequest) {
	return func(r *computev1.RunRequest) {
		r.Resources = append(r.Resources, &computev1.ResourceRef{Kind: kind, Id: id})
	}
}

// creating makes the machine; metadata tells the simulator what to do with it, as pairs.
func creating(metadata ...string) func(*computev1.RunRequest) {
	m := map[string]string{}
	for i := 0; i < len(metadata); i += 2 {
		m[metadata[i]] = metadata[i+1]
	}
	return func(r *computev1.RunRequest) {
		r.Step = "spawn"
		r.Action = &computev1.RunRequest_Create{Create: &computev1.CreateMachine{Spec: &computev1.MachineSpec{
			Id: r.GetInstanceId(), Name: "web", Vcpus: 1, MemoryMib: 128, DiskGib: 1, Metadata: m,
			Image: &computev1.ImageSource{Id: "img", Name: "default", Url: "builtin:default", Format: "raw"},
		}}}
	}
}

func stopping(grace time.Duration) func(*computev1.RunRequest) {
	return func(r *computev1.RunRequest) {
		r.Step = "power-off"
		r.Action = &computev1.RunRequest_Stop{Stop: &computev1.StopMachine{Grace: durationpb.New(grace)}}
	}
}

func pausing(r *computev1.RunRequest) {
	r.Step = "pause"
	r.Action = &computev1.RunRequest_Pause{Pause: &computev1.PauseMachine{}}
}

func unpausing(r *computev1.RunRequest) {
	r.Step = "unpause"
	r.Action = &computev1.RunRequest_Unpause{Unpause: &computev1.UnpauseMachine{}}
}

func rebooting(r *computev1.RunRequest) {
	r.Step = "reboot"
	r.Action = &computev1.RunRequest_Reboot{Reboot: &computev1.RebootMachine{}}
}

func deleting(r *computev1.RunRequest) {
	r.Step = "delete"
	r.Action = &computev1.RunRequest_Destroy{Destroy: &computev1.DestroyMachine{Tombstone: true}}
}

func clearing(r *computev1.RunRequest) {
	r.Step = "clear"
	r.Action = &computev1.RunRequest_Destroy{Destroy: &computev1.DestroyMachine{}}
}

func suspending(r *computev1.RunRequest) {
	r.Step = "suspend"
	r.Action = &computev1.RunRequest_Suspend{Suspend: &computev1.SuspendMachine{}}
}

func resuming(r *computev1.RunRequest) {
	r.Step = "resume"
	r.Action = &computev1.RunRequest_Resume{Resume: &computev1.ResumeMachine{}}
}

// rescuer is the image of rescue disks.
const rescuer = "0192f0a0-0000-7000-8000-00000000dddd"

func rescuing(r *computev1.RunRequest) {
	r.Step = "rescue"
	r.Action = &computev1.RunRequest_Rescue{Rescue: &computev1.RescueMachine{
		Image: &computev1.ImageSource{Id: rescuer, Name: "rescue", Url: "builtin:default", Format: "raw"},
	}}
}

func unrescuing(r *computev1.RunRequest) {
	r.Step = "unrescue"
	r.Action = &computev1.RunRequest_Unrescue{Unrescue: &computev1.UnrescueMachine{}}
}

func rebuilding(r *computev1.RunRequest) {
	creating()(r)
	r.Step = "rebuild"
	r.Action = &computev1.RunRequest_Rebuild{Rebuild: &computev1.RebuildMachine{Spec: r.GetCreate().GetSpec()}}
}

// image is the one that most tests of images are about.
const image = "0192f0a0-0000-7000-8000-00000000cccc"

func copying(r *computev1.RunRequest) {
	r.Step = "copy"
	r.Action = &computev1.RunRequest_Snapshot{Snapshot: &computev1.SnapshotMachine{ImageId: image}}
}

func exporting(r *computev1.RunRequest) {
	r.Step = "upload"
	r.Action = &computev1.RunRequest_Export{Export: &computev1.ExportSnapshot{ImageId: image}}
}

func dropping(r *computev1.RunRequest) {
	r.Step = "drop"
	r.Action = &computev1.RunRequest_Drop{Drop: &computev1.DropSnapshot{ImageId: image}}
}

// withImages has a destroy drop images too.
func withImages(ids ...string) func(*computev1.RunRequest) {
	return func(r *computev1.RunRequest) { r.GetDestroy().Images = ids }
}

func settingPassword(sealed []byte) func(*computev1.RunRequest) {
	return func(r *computev1.RunRequest) {
		r.Step = "password"
		r.Action = &computev1.RunRequest_SetPassword{SetPassword: &computev1.SetGuestPassword{User: "root", Sealed: sealed}}
	}
}

// raising makes a FenceRequest for the machine.
func raising(revision int64, change ...func(*computev1.FenceRequest)) *computev1.FenceRequest {
	req := &computev1.FenceRequest{
		InstanceId: machine, Fence: token(revision), TaskId: task, HostEpoch: epoch, Conductor: "c2",
		Resources: []*computev1.ResourceRef{{Kind: "instance", Id: machine}},
	}
	for _, c := range change {
		c(req)
	}
	return req
}
