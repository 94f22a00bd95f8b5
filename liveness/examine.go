package liveness

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/coord"
	"leasehold/vm"
)

// Dial makes a gRPC connection to a conductor's address. It does not wait for it; the caller closes it.
type Dial func(address string) (*grpc.ClientConn, error)

// verdict is what can be known of a process from outside.
type verdict int

const (
	unknown verdict = iota // unreachable or silent: left to the TTL
	lives
	gone // proven, V3
)

// knockTimeout is for one handshake: a kernel that lives answers it, whatever its processes do. answerTimeout is for one
// message of a process that lives.
const (
	knockTimeout  = time.Second
	answerTimeout = 3 * time.Second
)

// knock asks the kernel at an address whether anybody listens there.
func knock(ctx context.Context, address string) verdict {
	d := net.Dialer{Timeout: knockTimeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = conn.Close()
		return lives
	case errors.Is(err, syscall.ECONNREFUSED):
		return gone
	}
	return unknown
}

// examine finds out whether the process name, last known at address under an incarnation, is still there. self is the
// incarnation that the caller calls itself.
func examine(ctx context.Context, dial Dial, name vm.ConductorName, address, expected, self string) verdict {
	if v := knock(ctx, address); v != lives || dial == nil {
		return v
	}
	conn, err := dial(address)
	if err != nil {
		return unknown
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	stream, err := conductorv1.NewClusterClient(conn).Peer(ctx, &conductorv1.PeerRequest{Name: string(name), Incarnation: self})
	if err != nil {
		return unknown
	}
	answer, err := stream.Recv()
	if err != nil {
		return unknown
	}
	return judge(answer, name, expected)
}

// judge reads an answer. A process under another name at that address proves nothing: two may stand behind one address.
func judge(answer *conductorv1.PeerResponse, name vm.ConductorName, expected string) verdict {
	switch {
	case answer.GetName() != string(name):
		return unknown
	case answer.GetIncarnation() != expected:
		return gone
	}
	return lives
}

// revokeIncarnation ends the lease of a conductor that is gone, if its alive key still hangs on it; done says whether it
// was so. A wrong suspicion is harmless: everything that was done under the lease is fenced. P3
func revokeIncarnation(
	ctx context.Context, store *coord.Store, client *clientv3.Client, name vm.ConductorName, lease int64,
) (done bool, err error) {
	kv, err := store.Get(ctx, store.Keys().AliveConductor(name))
	switch {
	case errors.Is(err, coord.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case kv.Lease != lease:
		return false, nil
	}
	err = revoke(ctx, client, lease)
	return err == nil, err
}
