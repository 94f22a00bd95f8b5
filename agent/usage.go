package agent

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

// Usage asks the driver beside whatever step is under way, as Observe does: a long one must not hide what its machine uses.
func (s *server) Usage(ctx context.Context, req *computev1.UsageRequest) (*computev1.UsageResponse, error) {
	id := vm.InstanceID(req.GetInstanceId())
	if !legalID.MatchString(req.GetInstanceId()) {
		return nil, invalid("cannot measure the instance %q: not an id", id)
	}
	p, ok := s.a.driver.(drivers.Meter)
	if !ok {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot measure instance %s: the driver %s does not count", id, s.a.info.Driver)
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	used, err := p.Usage(ctx, id)
	if err != nil {
		return nil, vm.Refuse(reasonOf(err), "cannot measure instance %s: %v", id, err)
	}
	resp := &computev1.UsageResponse{}
	for _, u := range used {
		resp.Vcpus = append(resp.Vcpus, &computev1.VCPUUsage{Run: durationpb.New(u.Run), Wait: durationpb.New(u.Wait)})
	}
	return resp, nil
}
