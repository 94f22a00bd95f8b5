package liveness

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// PeersConfig of Peers.
type PeersConfig struct {
	Keeper *Keeper // this conductor
	Cache  *coord.Cache
	Store  *coord.Store
	Client *clientv3.Client // for revoking
	Dial   Dial
	Log    hclog.Logger
}

// Peers watches the other conductors, each over a stream that breaks when its process dies: fast failover (P3). One that
// is provably gone (V3) has its lease revoked at once; all others are left to the TTL.
type Peers struct {
	cfg   PeersConfig
	self  vm.ConductorName
	wake  chan struct{}
	tally tally
}

// NewPeers subscribes to the cache, so it is called before Cache.Run.
func NewPeers(cfg PeersConfig) *Peers {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	p := &Peers{cfg: cfg, self: cfg.Keeper.cfg.Name, wake: make(chan struct{}, 1)}
	cfg.Cache.Subscribe(p.changed)
	return p
}

// changed runs in the cache's goroutine.
func (p *Peers) changed(changes []coord.Change) {
	own := p.cfg.Cache.Keys().AliveConductor(p.self)
	for _, ch := range changes {
		if ch.Table != coord.Alive {
			continue
		}
		// Revoked by somebody who thought us dead: sooner heard here than from the next keep-alive.
		if s := p.cfg.Keeper.Current(); s != nil && ch.Key == own && ch.Now == nil && ch.Was.Lease == s.Lease() {
			s.lose("its alive key is gone")
		}
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// peer is one incarnation of another conductor.
type peer struct {
	name    vm.ConductorName
	address string
	lease   int64
}

// Run follows every other conductor in the cache until ctx ends, and returns its cause.
func (p *Peers) Run(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	stops := map[peer]context.CancelFunc{}
	for {
		live := p.others()
		for one, stop := range stops {
			if !live[one] {
				stop()
				delete(stops, one)
			}
		}
		for one := range live {
			if stops[one] == nil {
				pctx, stop := context.WithCancel(ctx)
				stops[one] = stop
				following.Go(func() { defer stop(); p.follow(pctx, one) })
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.wake:
		}
	}
}

func (p *Peers) others() map[peer]bool {
	m := Members{Cache: p.cfg.Cache}
	live := map[peer]bool{}
	for _, c := range m.Conductors() {
		if r, lease, ok := m.Conductor(c.Name); ok && c.Name != p.self {
			live[peer{c.Name, r.Address, lease}] = true
		}
	}
	return live
}

// follow stays with one incarnation until its alive key is gone, which ends ctx.
func (p *Peers) follow(ctx context.Context, one peer) {
	log := p.cfg.Log.With("peer", one.name, "peer_incarnation", incarnation(one.lease))
	pause := minPause
	for ctx.Err() == nil {
		began := time.Now()
		verdict, why := p.listen(ctx, one)
		if verdict != gone && ctx.Err() == nil {
			// Redial at once: only a kernel that answers for its process proves anything.
			if v := knock(ctx, one.address); v == gone {
				verdict, why = v, "its address refuses connections"
			}
		}
		if ctx.Err() != nil {
			return
		}
		if verdict == gone {
			// Its own success ends ctx: the alive key goes.
			done, err := revokeIncarnation(context.WithoutCancel(ctx), p.cfg.Store, p.cfg.Client, one.name, one.lease)
			switch {
			case err != nil:
				log.Warn("cannot revoke the lease of a peer that is gone", "why", why, "error", err)
			case done:
				p.tally.revoked.Add(1)
				log.Info("revoked the lease of a peer that is gone", "why", why)
			}
		} else {
			log.Debug("peer does not answer, left to its TTL", "why", why)
		}
		if time.Since(began) > answerTimeout {
			pause = minPause
		}
		pause = wait(ctx, pause)
	}
}

// listen holds one stream until it breaks or tells that this incarnation is no more. The first message has a deadline;
// after it silence is as good as life, because a process that dies breaks the stream.
func (p *Peers) listen(ctx context.Context, one peer) (verdict, string) {
	conn, err := p.cfg.Dial(one.address)
	if err != nil {
		return unknown, err.Error()
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own, _, _ := p.cfg.Keeper.Incarnation()
	overdue := time.AfterFunc(answerTimeout, cancel)
	defer overdue.Stop()
	stream, err := conductorv1.NewClusterClient(conn).Peer(ctx, &conductorv1.PeerRequest{Name: string(p.self), Incarnation: own})
	for err == nil {
		var answer *conductorv1.PeerResponse
		if answer, err = stream.Recv(); err != nil {
			break
		}
		if overdue.Stop() {
			p.tally.streams.Add(1)
			defer p.tally.streams.Add(-1)
		}
		if v := judge(answer, one.name, incarnation(one.lease)); v != lives {
			return v, "its address answers as " + answer.GetName() + " with incarnation " + answer.GetIncarnation()
		}
	}
	return unknown, err.Error()
}
