package conductor

import (
	"context"
	"fmt"

	"leasehold/api/compute/v1"
	"leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

// GetUsage asks the host what each vCPU has run and waited. That a vCPU waits is a statistic: no state says so.
func (s *service) GetUsage(ctx context.Context, req *conductorv1.GetRequest) (*conductorv1.Usage, error) {
	found, err := s.sought(ctx, req)
	if err != nil {
		return nil, err
	}
	in := found.rec
	if in.Host == "" {
		return nil, vm.Refuse(vm.ReasonStateForbids, "cannot tell the usage of instance %s: it is on no host", in.ID)
	}
	alive, ok := s.c.hosts.alive(in.Host)
	if !ok {
		return nil, &vm.Refusal{Why: vm.ReasonHostDown, Host: in.Host, Since: s.c.downSince(in.Host), Message: fmt.Sprintf(
			"cannot tell the usage of instance %s: its host %s is down", in.ID, in.Host)}
	}
	agent, err := s.c.agents.client(alive.Address)
	if err != nil {
		return nil, err
	}
	seen, err := agent.Usage(ctx, &computev1.UsageRequest{InstanceId: string(in.ID)})
	if err != nil {
		return nil, rpc.FromStatus(err)
	}
	out := &conductorv1.Usage{Id: string(in.ID), Host: string(in.Host)}
	for _, v := range seen.GetVcpus() {
		out.Vcpus = append(out.Vcpus, &conductorv1.VCPU{Run: v.GetRun(), Wait: v.GetWait()})
	}
	return out, nil
}
