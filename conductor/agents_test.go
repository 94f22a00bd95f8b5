package conductor

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"leasehold/api/compute/v1"
)

// mute is an agent whose events never come.
type mute struct {
	computev1.UnimplementedComputeServer
}

func (mute) Events(_ *computev1.EventsRequest, s grpc.ServerStreamingServer[computev1.Observation]) error {
	if err := s.SendHeader(nil); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func TestAConnectionThatNobodyNeedsIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	computev1.RegisterComputeServer(server, mute{})
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	a := &agents{creds: insecure.NewCredentials(), reach: dialTCP}
	defer a.close()
	address := l.Addr().String()
	agent, err := a.client(address)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := agent.Events(ctx, &computev1.EventsRequest{})
	require.NoError(t, err)
	_, err = events.Header()
	require.NoError(t, err)

	later := time.Now().Add(2 * keepConnection)
	a.keep(nil, later)
	require.Len(t, a.conns, 1, "a call is under way, however long no host has had the address")
	cancel()
	_, err = events.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))

	a.keep(map[string]bool{address: true}, later.Add(2*keepConnection))
	a.keep(nil, later.Add(3*keepConnection))
	require.Len(t, a.conns, 1, "a host had the address a moment ago")
	a.keep(nil, later.Add(4*keepConnection))
	require.Empty(t, a.conns)
	_, err = agent.Observe(t.Context(), &computev1.ObserveRequest{})
	require.Equal(t, codes.Canceled, status.Code(err), "it is closed, and not only forgotten")
	_, err = a.client(address)
	require.NoError(t, err)
	require.Len(t, a.conns, 1, "who comes back is dialled anew")
}
