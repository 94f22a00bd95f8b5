package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/vm"
)

// The words of a verdict on a machine that a registering host has.
const (
	verdictKeep       = "keep"
	verdictDestroy    = "destroy"
	verdictQuarantine = "quarantine"
)

// carryOut does what the conductor decided about each machine, from evidence in etcd. It returns what is quarantined, with
// the reason. After an error the host must not become schedulable.
func (a *Agent) carryOut(ctx context.Context, verdicts []*conductorv1.MachineVerdict) (map[vm.InstanceID]string, error) {
	quarantined := map[vm.InstanceID]string{}
	for _, v := range verdicts {
		id := vm.InstanceID(v.GetInstanceId())
		log := a.log.With("instance", id, "why", v.GetWhy())
		switch v.GetVerdict() {
		case verdictKeep:
			log.Debug("keeping machine")
		case verdictQuarantine:
			log.Warn("quarantined machine: nobody knows what to do with it")
			quarantined[id] = v.GetWhy()
		case verdictDestroy:
			log.Info("destroying machine", "tombstone", v.GetTombstone())
			err := a.execute(ctx, v)
			switch {
			case vm.ReasonOf(err) == vm.ReasonStaleFence:
				// The evidence is older than what was done here since. It is no longer evidence (A7).
				log.Warn("quarantined machine: the verdict's fence is out of date", "error", err)
				quarantined[id] = err.Error()
			case err != nil:
				return nil, fmt.Errorf("cannot destroy instance %s as told: %w", id, err)
			}
		default:
			return nil, fmt.Errorf("cannot carry out the verdict %q on instance %s", v.GetVerdict(), id)
		}
	}
	return quarantined, nil
}

// execute ends a machine that belongs elsewhere or nowhere, under the verdict's fence like any command. One that is gone
// for good is left alone: nothing can bring it back (A5), and its tombstone refuses whatever the verdict's fence would.
func (a *Agent) execute(ctx context.Context, v *conductorv1.MachineVerdict) error {
	ctx, cancel := context.WithTimeout(ctx, verdictLimit)
	defer cancel()
	id := vm.InstanceID(v.GetInstanceId())
	o := order{
		claim: claim{
			fence:     vm.Fence{Generation: v.GetFenceGeneration(), Revision: v.GetFenceRevision()},
			instance:  id,
			resources: []vm.Resource{{Kind: vm.KindInstance, ID: string(id)}},
			conductor: "registration",
		},
		step:   "verdict",
		action: destroy(id, v.GetTombstone(), nil),
	}
	if n, buried := a.book.buriedUnder(id, o.fence); buried && a.gone(ctx, id) {
		return a.book.commit("tombstone", n)
	}
	unlock, err := a.take(ctx, o.claim, true, func(claim) error { return nil })
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.book.gate(o); err != nil {
		return err
	}
	a.point("driver:before:destroy")
	err = a.driver.Destroy(ctx, id, func(vm.Progress) {})
	a.point("driver:after:destroy")
	if err != nil || !v.GetTombstone() {
		return err
	}
	t := &tombstoneEntry{Instance: id, Fence: o.fence, At: time.Now()}
	return a.book.commit("tombstone", a.book.write(entry{Tombstone: t}))
}

// gone says whether the hypervisor knows for sure that nothing of the machine is here.
func (a *Agent) gone(ctx context.Context, id vm.InstanceID) bool {
	m, err := a.driver.Inspect(ctx, id)
	return err == nil && !m.Exists
}

func byInstance(x, y *conductorv1.FoundMachine) int {
	return strings.Compare(x.GetInstanceId(), y.GetInstanceId())
}
