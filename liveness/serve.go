package liveness

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	conductorv1 "leasehold/api/conductor/v1"
)

// PeerServer answers Cluster.Peer for one conductor.
type PeerServer struct{ Keeper *Keeper }

// ServePeer tells the peer this process's incarnation, and each new one, until the stream or the Keeper ends. A process
// without a session answers with an empty one: that, too, says that an older one is over.
func (s *PeerServer) ServePeer(_ *conductorv1.PeerRequest, stream grpc.ServerStreamingServer[conductorv1.PeerResponse]) error {
	for {
		own, changed, stopped := s.Keeper.Incarnation()
		if stopped {
			return status.Error(codes.Unavailable, "the conductor is stopping")
		}
		answer := &conductorv1.PeerResponse{Name: string(s.Keeper.cfg.Name), Incarnation: own}
		if err := stream.Send(answer); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// tally counts what Peers does, for metrics and tests.
type tally struct {
	streams atomic.Int64
	revoked atomic.Int64
}

// Streams is how many peers are heard now; Revoked, how many leases of dead peers were ended here so far.
func (p *Peers) Streams() int { return int(p.tally.streams.Load()) }

// Revoked is the other half of Streams.
func (p *Peers) Revoked() int { return int(p.tally.revoked.Load()) }
