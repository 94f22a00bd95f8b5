package clitest

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// conductor answers for the cluster. What it does not have is unsupported.
type conductor struct {
	conductorv1.UnimplementedConductorServer
	conductorv1.UnimplementedStreamsServer
	*Cluster
	replica *Replica
}

// order admits once for each request id (P5).
func (c conductor) order(
	req interface {
		proto.Message
		GetRequestId() string
	}, admit func() (*conductorv1.InstanceTask, error),
) (answer *conductorv1.InstanceTask, err error) {
	c.change(func() {
		key := req.GetRequestId()
		body, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req)
		if known, ok := c.requests[key]; ok && key != "" {
			if known.body != string(body) {
				err = vm.Refuse(vm.ReasonKeyReused, "cannot use the key %s again for something else", key)
			}
			answer = known.answer
			return
		}
		if answer, err = admit(); err == nil && key != "" {
			c.requests[key] = &request{body: string(body), answer: answer}
		}
	})
	return answer, err
}

func (c conductor) CreateInstance(
	_ context.Context, req *conductorv1.CreateInstanceRequest,
) (*conductorv1.InstanceTask, error) {
	return c.order(req, func() (*conductorv1.InstanceTask, error) {
		if req.GetFlavor() != "tiny" {
			return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot create %s: there is no flavor %q", req.GetName(), req.GetFlavor())
		}
		if c.find(req.GetName()) != nil {
			return nil, vm.Refuse(vm.ReasonAlreadyExists, "cannot create %s: the name is taken", req.GetName())
		}
		if err := c.usable(req.GetImage()); err != nil {
			return nil, err
		}
		i := &conductorv1.Instance{
			Id: id(0, len(c.instances)+1), Name: req.GetName(), Project: "default", VmState: string(vm.Building),
			Flavor: req.GetFlavor(), Image: c.findImage(req.GetImage()).GetId(), Metadata: req.GetMetadata(),
			CreatedAt: timestamppb.New(Began), OnHostBoot: cmp.Or(req.GetOnHostBoot(), string(vm.HostBootRestart)), DeleteProtection: req.GetDeleteProtection(),
		}
		c.instances = append(c.instances, i)
		return c.admit(i, vm.Create, vm.Spawning), nil
	})
}

func (c conductor) StopInstance(_ context.Context, req *conductorv1.StopRequest) (*conductorv1.InstanceTask, error) {
	return c.order(req, func() (*conductorv1.InstanceTask, error) {
		i := c.find(req.GetId())
		switch {
		case i == nil:
			return nil, unknown(req.GetId())
		case i.GetTask() != "":
			return nil, &vm.Refusal{
				Why: vm.ReasonTaskInProgress, Message: "cannot stop " + i.GetName() + ": a task is in the way",
				Task: vm.TaskID(i.GetTask()), Holder: "c1", Since: Began, Allowed: []vm.Verb{vm.Delete},
			}
		case i.GetVmState() == string(vm.Stopped):
			return nil, &vm.Refusal{Why: vm.ReasonStateForbids, Message: "cannot stop " + i.GetName() + ": it is stopped", Already: true}
		}
		return c.admit(i, vm.Stop, vm.PoweringOff), nil
	})
}

func (c conductor) DeleteInstance(_ context.Context, req *conductorv1.DeleteRequest) (*conductorv1.InstanceTask, error) {
	return c.order(req, func() (*conductorv1.InstanceTask, error) {
		i := c.find(req.GetId())
		if i == nil {
			return nil, unknown(req.GetId())
		}
		if i.GetDeleteProtection() {
			return nil, vm.Refuse(vm.ReasonStateForbids, "cannot delete %s: it is protected", i.GetName())
		}
		return c.admit(i, vm.Delete, vm.Deleting), nil
	})
}

func (c conductor) UpdateInstance(
	_ context.Context, req *conductorv1.UpdateInstanceRequest,
) (answer *conductorv1.Instance, err error) {
	c.change(func() {
		i := c.find(req.GetId())
		if i == nil {
			err = unknown(req.GetId())
			return
		}
		if want := req.GetIfRevision(); want != 0 && want != i.GetRevision() {
			err = vm.Refuse(vm.ReasonInUse, "cannot update instance %s: its revision is %d, not %d; read it again",
				i.GetId(), i.GetRevision(), want)
			return
		}
		i.Name, i.OnHostBoot = cmp.Or(req.GetName(), i.GetName()), cmp.Or(req.GetOnHostBoot(), i.GetOnHostBoot())
		for key, value := range req.GetMetadata() {
			if value == "" {
				delete(i.Metadata, key)
			} else {
				i.Metadata[key] = value
			}
		}
		if req.DeleteProtection != nil {
			i.DeleteProtection = req.GetDeleteProtection()
		}
		i.Revision = c.revision
		answer = proto.CloneOf(i)
	})
	return answer, err
}

func (c conductor) GetInstance(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(req.GetId()); i != nil {
		return proto.CloneOf(i), nil
	}
	return nil, unknown(req.GetId())
}

func (c conductor) ListInstances(
	_ context.Context, req *conductorv1.ListInstancesRequest,
) (*conductorv1.ListInstancesResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := 0
	if token := req.GetPageToken(); token != "" {
		var err error
		if from, err = strconv.Atoi(token); err != nil {
			return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot read the page token %q", token)
		}
	}
	r := &conductorv1.ListInstancesResponse{Revision: c.revision}
	for at, i := range c.instances[from:] {
		if len(r.GetInstances()) == c.PageSize {
			r.NextPageToken = strconv.Itoa(from + at)
			break
		}
		if req.GetState() == i.GetVmState() || req.GetState() == "" && i.GetVmState() != string(vm.Deleted) {
			r.Instances = append(r.Instances, proto.CloneOf(i))
		}
	}
	return r, nil
}

func (c conductor) ExplainInstance(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.Explanation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.find(req.GetId())
	if i == nil {
		return nil, unknown(req.GetId())
	}
	return &conductorv1.Explanation{
		Id: i.GetId(), Summary: i.GetName() + " is " + i.GetVmState() + " and idle.",
		Facts: []*conductorv1.Fact{
			{Topic: "state", Message: "It is active since 3 minutes.", Values: map[string]string{"since": "2026-01-02T03:04:05Z"}},
			{Topic: "host", Message: "Its host h1 is up."},
		},
	}, nil
}

func (c conductor) GetTask(_ context.Context, req *conductorv1.GetRequest) (*conductorv1.Task, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.findTask(req.GetId()); t != nil {
		return proto.CloneOf(t), nil
	}
	return nil, vm.Refuse(vm.ReasonNotFound, "cannot find a task %q", req.GetId())
}

func (c conductor) ListTasks(context.Context, *conductorv1.ListTasksRequest) (*conductorv1.ListTasksResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &conductorv1.ListTasksResponse{Revision: c.revision}
	for _, t := range slices.Backward(c.tasks) {
		r.Tasks = append(r.Tasks, proto.CloneOf(t))
	}
	return r, nil
}

func (c conductor) ListFlavors(context.Context, *conductorv1.ListRequest) (*conductorv1.ListFlavorsResponse, error) {
	return &conductorv1.ListFlavorsResponse{
		Flavors: []*conductorv1.Flavor{{Id: "tiny", Name: "tiny", Vcpus: 1, MemoryMib: 128, DiskGib: 1}},
	}, nil
}

func (c conductor) CreateFlavor(_ context.Context, req *conductorv1.CreateFlavorRequest) (*conductorv1.Flavor, error) {
	return &conductorv1.Flavor{Id: req.GetName(), Name: req.GetName(), Vcpus: req.GetVcpus()}, nil
}

func (c conductor) Check(context.Context, *conductorv1.ListRequest) (*conductorv1.CheckResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &conductorv1.CheckResponse{Revision: c.revision, Instances: int32(len(c.instances))}
	if c.violation != nil {
		r.Violations = append(r.Violations, c.violation)
	}
	return r, nil
}

func unknown(ref string) error {
	return vm.Refuse(vm.ReasonNotFound, "cannot find an instance %q", ref)
}
