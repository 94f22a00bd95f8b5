package conductor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/internal/rpc"
	"leasehold/liveness"
	"leasehold/vm"
)

// hostTable is which hosts are alive, from the cache, and since when the others are not, as far as this process saw it.
type hostTable struct {
	members liveness.Members

	mu   sync.Mutex
	down map[vm.HostName]time.Time
	wake chan struct{}
}

func newHostTable(m liveness.Members) *hostTable {
	return &hostTable{members: m, down: map[vm.HostName]time.Time{}, wake: make(chan struct{})}
}

func (h *hostTable) alive(host vm.HostName) (vm.AliveCompute, bool) {
	a, _, ok := h.members.Compute(host)
	return a, ok
}

// changed returns a channel that is closed when any host comes or goes. Take it before looking.
func (h *hostTable) changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wake
}

// heard is told each change of an alive key.
func (h *hostTable) heard(ch coord.Change) {
	host, ok := strings.CutPrefix(ch.Rest, "compute/")
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ch.Now == nil {
		h.down[vm.HostName(host)] = time.Now().UTC()
	} else {
		delete(h.down, vm.HostName(host))
	}
	close(h.wake)
	h.wake = make(chan struct{})
}

// poke wakes who waits for a host, for another reason than that it came or went.
func (h *hostTable) poke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.wake)
	h.wake = make(chan struct{})
}

// downSince is when this conductor saw the host's lease end; zero when it did not.
func (h *hostTable) downSince(host vm.HostName) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down[host]
}

// cluster answers agents and peers.
type cluster struct {
	conductorv1.UnimplementedClusterServer
	c     *Conductor
	peers liveness.PeerServer
}

// Peer tells another conductor which incarnation this is, for as long as both live.
func (s *cluster) Peer(req *conductorv1.PeerRequest, stream grpc.ServerStreamingServer[conductorv1.PeerResponse]) error {
	return s.peers.ServePeer(req, stream)
}

// Register gives a host its epoch and lease, and a verdict on every machine found there.
func (s *cluster) Register(ctx context.Context, req *conductorv1.RegisterRequest) (*conductorv1.RegisterResponse, error) {
	resp, err := s.c.registerHost(ctx, req)
	return resp, rpc.ToStatus(err)
}

func (c *Conductor) registerHost(ctx context.Context, req *conductorv1.RegisterRequest) (*conductorv1.RegisterResponse, error) {
	if !c.seeded.Load() {
		return nil, vm.Refuse(vm.ReasonStoreUnavailable, "cannot register host %s: this conductor has not read the store yet", req.GetHost())
	}
	if !validName(req.GetHost()) || req.GetDataDirId() == "" || req.GetAddress() == "" {
		return nil, vm.Refuse(vm.ReasonInvalidArgument,
			"cannot register host %q: it needs a name of letters, digits, dot, dash, underscore, a data directory id and an address", req.GetHost())
	}
	host, err := c.enrol(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &conductorv1.RegisterResponse{
		Epoch: host.Epoch, Lease: host.Lease, Ttl: durationpb.New(c.cfg.HostTTL), Generation: c.generation().Generation,
	}
	if resp.DropImages, err = c.withoutRecord(ctx, req.GetImages()); err != nil {
		return nil, err
	}
	for _, m := range req.GetMachines() {
		v, err := c.judge(ctx, vm.HostName(req.GetHost()), m)
		if err != nil {
			return nil, err
		}
		resp.Verdicts = append(resp.Verdicts, v)
	}
	c.log.Info("host registered", "host", req.GetHost(), "epoch", host.Epoch, "machines", len(req.GetMachines()))
	return resp, nil
}

// enrol writes the host's record with a new lease and the epoch. The epoch grows with each data directory, which has lost
// the fences and tombstones of the one before, and with each boot, which has lost the guests. A second directory under a
// living name is refused.
func (c *Conductor) enrol(ctx context.Context, req *conductorv1.RegisterRequest) (*vm.Host, error) {
	name := vm.HostName(req.GetHost())
	key, alive := c.keys.Host(name), c.keys.AliveCompute(name)
	for range admitTries {
		now := time.Now().UTC()
		host := vm.Host{Schema: vm.Schema, ID: name, Name: name, Admin: vm.HostEnabled, CreatedAt: now}
		kv, err := c.store.Get(ctx, key)
		switch {
		case errors.Is(err, coord.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			if err := kv.Decode(&host); err != nil {
				return nil, err
			}
		}
		t := &coord.Txn{Name: "host.register"}
		t.If(coord.Unchanged(key, kv.Mod))
		fresh := host.DataDir != req.GetDataDirId()
		if fresh {
			_, err := c.store.Get(ctx, alive)
			if err == nil {
				return nil, vm.Refuse(vm.ReasonAlreadyExists,
					"cannot register host %s: another data directory lives under that name; stop that agent, or choose another name", name)
			}
			if !errors.Is(err, coord.ErrNotFound) {
				return nil, err
			}
			t.If(coord.Absent(alive))
		}
		if host.Admin == vm.HostRemoved {
			return nil, vm.Refuse(vm.ReasonStateForbids, "cannot register host %s: it was removed, and what it owes is still being settled; try again", name)
		}
		if fresh || host.Boot != req.GetBootId() {
			host.Epoch = max(host.Epoch, req.GetEpoch()) + 1
		}
		host.DataDir, host.Boot = req.GetDataDirId(), req.GetBootId()
		host.Driver, host.Version = req.GetDriver(), req.GetDriverVersion()
		host.Capacity = vm.Size{
			VCPUs: int(req.GetVcpus()), MemoryMiB: vm.MiB(req.GetMemoryMib()), DiskGiB: vm.GiB(req.GetDiskGib()),
		}
		host.PublicKey, host.Powers, host.Fenced = req.GetPublicKey(), req.GetPowers(), nil
		if host.Lease, err = c.leases.Grant(ctx, c.cfg.HostTTL); err != nil {
			return nil, err
		}
		host.UpdatedAt = now
		t.Then(coord.Put(key, host).Witness())
		_, err = c.store.Commit(ctx, t)
		if _, conflict := errors.AsType[*coord.ConflictError](err); conflict {
			continue
		}
		return &host, err
	}
	return nil, vm.Refuse(vm.ReasonLocked, "cannot register host %s: its record kept changing; try again", name)
}

// Verdicts on machines that a host has found.
const (
	keepMachine       = "keep"
	destroyMachine    = "destroy"
	quarantineMachine = "quarantine"
)

// judge decides about one machine. It is destroyed only on positive evidence, read from etcd itself: a tombstone, a delete
// on record, or a record that names another host under a higher fence; never while an open task lists this host. P2, P5
func (c *Conductor) judge(ctx context.Context, host vm.HostName, m *conductorv1.FoundMachine) (*conductorv1.MachineVerdict, error) {
	id := vm.InstanceID(m.GetInstanceId())
	say := func(verdict, why string) *conductorv1.MachineVerdict {
		return &conductorv1.MachineVerdict{
			InstanceId: string(id), Verdict: verdict, Why: why,
			FenceGeneration: m.GetFenceGeneration(), FenceRevision: m.GetFenceRevision(),
		}
	}
	if m.GetTombstone() {
		v := say(destroyMachine, "the host has its tombstone")
		v.Tombstone = true
		return v, nil
	}
	if m.GetUnknown() || !isID(string(id)) {
		return say(quarantineMachine, "the driver cannot read it"), nil
	}
	found, err := c.readInstance(ctx, id)
	if vm.ReasonOf(err) == vm.ReasonNotFound {
		return say(quarantineMachine, "nothing is known of it: neither a record nor a delete"), nil
	}
	if err != nil {
		return nil, err
	}
	if found.gone {
		v := say(destroyMachine, "it was deleted at "+found.rec.UpdatedAt.Format(time.RFC3339))
		v.Tombstone, v.FenceGeneration, v.FenceRevision = true, c.generation().Generation, found.mod
		return v, nil
	}
	in := found.rec
	if in.Task != "" {
		task, _, err := c.findTask(ctx, in.Task)
		if err != nil {
			return nil, err
		}
		if task.Kind == vm.Delete {
			// A delete is never taken back, so what is here ends before the host is schedulable again. Its tombstone is under
			// the fence of the delete's driver, or of its admission when nobody drives it: newer than all that was told here.
			v := say(destroyMachine, "task "+string(task.ID)+" deletes it")
			v.Tombstone, v.FenceGeneration = true, c.generation().Generation
			v.FenceRevision, err = c.fenceOf(ctx, task)
			return v, err
		}
		if slices.Contains(task.Hosts, host) {
			return say(keepMachine, "task "+string(task.ID)+" works on it"), nil
		}
	}
	if in.Host == host || slices.Contains(in.Footprint, host) {
		return say(keepMachine, "its record names this host"), nil
	}
	return c.judgeElsewhere(ctx, in, m, say)
}

// fenceOf is the revision of the newest fence that an open task has had: its claim's or, without one, the last that an
// attempt has signed.
func (c *Conductor) fenceOf(ctx context.Context, task *vm.Task) (int64, error) {
	kv, err := c.store.Get(ctx, c.keys.Claim(task.ID))
	switch {
	case err == nil:
		return kv.Create, nil
	case !errors.Is(err, coord.ErrNotFound):
		return 0, err
	}
	kv, err = c.store.Get(ctx, c.keys.Task(task.ID))
	if errors.Is(err, coord.ErrNotFound) {
		return 0, vm.Refuse(vm.ReasonStoreUnavailable, "cannot judge a machine of task %s: it has just ended; register again", task.ID)
	}
	return kv.Create, err
}

// withoutRecord are the images of a registering host that have none: ids are never used twice, so they are nobody's.
func (c *Conductor) withoutRecord(ctx context.Context, images []string) ([]string, error) {
	var gone []string
	for _, id := range images {
		_, err := c.store.Get(ctx, c.keys.Image(vm.ImageID(id)))
		switch {
		case errors.Is(err, coord.ErrNotFound):
			gone = append(gone, id)
		case err != nil:
			return nil, err
		}
	}
	return gone, nil
}

// judgeElsewhere decides about a machine whose record names another host: that is evidence only when it was said under a
// higher fence than the machine here has.
func (c *Conductor) judgeElsewhere(ctx context.Context, in *vm.Instance, m *conductorv1.FoundMachine,
	say func(verdict, why string) *conductorv1.MachineVerdict,
) (*conductorv1.MachineVerdict, error) {
	kv, err := c.store.Get(ctx, c.keys.Observed(in.ID))
	if errors.Is(err, coord.ErrNotFound) {
		return say(quarantineMachine, "its record names host "+string(in.Host)+", where it was never seen"), nil
	}
	if err != nil {
		return nil, err
	}
	var o vm.Observed
	if err := kv.Decode(&o); err != nil {
		return nil, err
	}
	here := vm.Fence{Generation: m.GetFenceGeneration(), Revision: m.GetFenceRevision()}
	if o.Host == in.Host && o.Fence.Compare(here) > 0 {
		v := say(destroyMachine, fmt.Sprintf("it is on host %s under the higher fence %s", in.Host, o.Fence))
		v.FenceGeneration, v.FenceRevision = o.Fence.Generation, o.Fence.Revision
		return v, nil
	}
	return say(quarantineMachine, fmt.Sprintf("its record names host %s, but not under a higher fence than %s", in.Host, here)), nil
}

// Activate makes the host schedulable: its alive key appears in this transaction, on the lease it was given.
func (s *cluster) Activate(ctx context.Context, req *conductorv1.ActivateRequest) (*conductorv1.ActivateResponse, error) {
	return &conductorv1.ActivateResponse{}, rpc.ToStatus(s.c.activateHost(ctx, req))
}

func (c *Conductor) activateHost(ctx context.Context, req *conductorv1.ActivateRequest) error {
	name := vm.HostName(req.GetHost())
	key := c.keys.Host(name)
	for range admitTries {
		kv, err := c.store.Get(ctx, key)
		if errors.Is(err, coord.ErrNotFound) {
			return notFound(vm.KindHost, req.GetHost())
		}
		if err != nil {
			return err
		}
		var host vm.Host
		if err := kv.Decode(&host); err != nil {
			return err
		}
		// One that arrives late must not hang the alive key back on a lease that was replaced since.
		if host.Epoch != req.GetEpoch() || host.DataDir != req.GetDataDirId() || host.Lease != req.GetLease() {
			return vm.Refuse(vm.ReasonNotFound, "cannot activate host %s: it was registered anew with epoch %d; register again", name, host.Epoch)
		}
		t := &coord.Txn{Name: "host.activate"}
		t.If(coord.Unchanged(key, kv.Mod))
		if host.DownSince != nil {
			host.DownSince = nil
			t.Then(coord.Put(key, host))
		}
		t.Then(coord.PutLeased(c.keys.AliveCompute(name), vm.AliveCompute{
			Schema: vm.Schema, ID: name, Name: name, Address: req.GetAddress(), Epoch: host.Epoch, Driver: host.Driver,
			Started: time.Now().UTC(), Generation: c.generation().Generation,
		}, req.GetLease()).Witness())
		_, err = c.store.Commit(ctx, t)
		if _, conflict := errors.AsType[*coord.ConflictError](err); conflict {
			continue // somebody edited the record, or registered: the next look tells
		}
		switch {
		case errors.Is(err, coord.ErrLeaseGone):
			return vm.Refuse(vm.ReasonNotFound, "cannot activate host %s: its registration is over; register again", name)
		case err == nil:
			c.log.Info("host active", "host", name, "epoch", host.Epoch)
		}
		return err
	}
	return vm.Refuse(vm.ReasonStoreUnavailable, "cannot activate host %s: its record kept changing; try again", name)
}

// Heartbeat renews the host's lease, whichever conductor granted it. A host that registered with a store of another
// generation is told to register again: it would refuse every fence of this one.
func (s *cluster) Heartbeat(ctx context.Context, req *conductorv1.HeartbeatRequest) (*conductorv1.HeartbeatResponse, error) {
	host := vm.HostName(req.GetHost())
	renew := s.c.leases.KeepAlive
	if req.GetRegistering() {
		renew = s.c.leases.Renew
	}
	if err := renew(ctx, host, req.GetEpoch(), req.GetLease()); err != nil {
		return nil, rpc.ToStatus(err)
	}
	if a, ok := s.c.hosts.alive(host); ok && !req.GetRegistering() && a.Generation != s.c.generation().Generation {
		return nil, rpc.ToStatus(vm.Refuse(vm.ReasonNotFound,
			"cannot renew the lease of host %s: the store has generation %d, it registered with %d; register again",
			host, s.c.generation().Generation, a.Generation))
	}
	return &conductorv1.HeartbeatResponse{Ttl: durationpb.New(s.c.cfg.HostTTL)}, nil
}
