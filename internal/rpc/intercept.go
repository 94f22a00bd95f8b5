package rpc

import (
	"context"

	"google.golang.org/grpc"
)

// UnaryServer and StreamServer pass every error of a handler through ToStatus, so that no handler can forget it.
func UnaryServer(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	resp, err := handle(ctx, req)
	return resp, ToStatus(err)
}

// StreamServer is UnaryServer for streams.
func StreamServer(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return ToStatus(handle(srv, stream))
}
