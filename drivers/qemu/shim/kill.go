package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"leasehold/drivers/qemu/folder"
)

// request and answer are one line of JSON each on the control socket; the shim answers when the hypervisor has ended and
// exit.json is durable.
type request struct {
	Kill Why `json:"kill"`
}

type answer struct {
	Exit Exit `json:"exit"`
}

// Kill asks the shim of dir to end its hypervisor by SIGKILL, and returns when it has. An error says nothing about the
// hypervisor: the shim may be gone, or hang. The lock tells.
func Kill(ctx context.Context, dir string, why Why) error {
	conn, err := folder.Dial(ctx, dir, folder.Control)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewEncoder(conn).Encode(request{Kill: why}); err != nil {
		return fmt.Errorf("cannot ask the shim: %w", errors.Join(err, context.Cause(ctx)))
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(conn, 1<<16)).Decode(&a); err != nil {
		return fmt.Errorf("cannot hear the shim: %w", errors.Join(err, context.Cause(ctx)))
	}
	return nil
}
