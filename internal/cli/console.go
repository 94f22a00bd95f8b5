package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/client"
	"leasehold/internal/rpc"
)

// detachKey is Ctrl-], which leaves the console, as in telnet: no guest needs it.
const detachKey = 0x1d

var errDetached = errors.New("detached")

func (a *app) instanceConsole() *cobra.Command {
	return &cobra.Command{
		Use:   "console INSTANCE",
		Short: "Join the serial line of an instance",
		Long: `console joins the instance's serial line. On a terminal every key goes to the guest and Ctrl-] leaves. Elsewhere
standard input is sent to the guest, and what the guest says is printed until the line ends; the end of the input does
not end it.`,
		Example: `  vmctl instance console web-1
  vmctl instance console web-1 < /dev/null | tee boot.log`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.instanceNames),
		RunE: a.run(func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if a.env.Raw == nil {
				return a.joinLine(ctx, c, args[0], a.keys(ctx, false))
			}
			return a.terminal(ctx, c, args[0])
		}),
	}
}

// terminal joins the line with a raw terminal, and joins it again through another conductor when this one is lost.
func (a *app) terminal(ctx context.Context, c *client.Client, id string) error {
	a.say("joining the serial line of %s; Ctrl-] leaves", id)
	restore, err := a.env.Raw()
	if err != nil {
		return fmt.Errorf("cannot make the terminal raw: %w", err)
	}
	defer a.say("\r") // the guest's cursor may be anywhere
	defer restore()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := a.keys(ctx, true)
	for {
		err := a.joinLine(ctx, c, id, keys)
		var lost *rpc.NoAnswerError
		switch {
		case errors.Is(err, errDetached):
			return nil
		case errors.As(err, &lost) && ctx.Err() == nil:
			a.say("\r\nthe conductor is lost; joining again through another one\r")
		default:
			return err
		}
	}
}

// input is what was typed, or how typing ended: io.EOF, or errDetached.
type input struct {
	data []byte
	err  error
}

// keys reads standard input until it ends or ctx does. A read cannot be broken off, so the goroutine may stay in its last
// one until the process ends.
func (a *app) keys(ctx context.Context, detachable bool) <-chan input {
	keys := make(chan input)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := a.env.In.Read(buffer)
			in := input{data: bytes.Clone(buffer[:n]), err: err}
			if at := bytes.IndexByte(in.data, detachKey); detachable && at >= 0 {
				in = input{data: in.data[:at], err: errDetached}
			}
			select {
			case keys <- in:
			case <-ctx.Done():
				return
			}
			if in.err != nil {
				return
			}
		}
	}()
	return keys
}

// joinLine carries bytes both ways until the server ends the line, somebody detaches, or ctx ends.
func (a *app) joinLine(ctx context.Context, c *client.Client, id string, keys <-chan input) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	line, err := c.Console(ctx)
	if err != nil {
		return err
	}
	if err := line.Send(&conductorv1.ConsoleInput{Instance: id}); err != nil {
		return err
	}
	var heard error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		heard = a.hear(line)
	}()
	for {
		select {
		case <-ended:
			return heard
		case in := <-keys:
			err := typed(line, in)
			if errors.Is(in.err, io.EOF) {
				keys = nil
			}
			if err != nil {
				cancel()
				<-ended
				return err
			}
		}
	}
}

// typed sends what was typed; the error is how typing ended, but for the end of the input, which only closes our side.
func typed(line conductorv1.Streams_ConsoleClient, in input) error {
	if len(in.data) > 0 {
		if err := line.Send(&conductorv1.ConsoleInput{Data: in.data}); err != nil {
			return err
		}
	}
	if errors.Is(in.err, io.EOF) {
		return line.CloseSend()
	}
	return in.err
}

// hear prints what the guest says until the line ends; nil when the server ended it.
func (a *app) hear(line conductorv1.Streams_ConsoleClient) error {
	for {
		said, err := line.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := a.env.Out.Write(said.GetData()); err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
	}
}
