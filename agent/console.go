package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	computev1 "leasehold/api/compute/v1"
	"leasehold/drivers"
	"leasehold/vm"
)

type consoleStream = grpc.BidiStreamingServer[computev1.ConsoleInput, computev1.ConsoleOutput]

// Console joins a stream to the machine's serial line until either side ends.
func (s *server) Console(stream consoleStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	id := vm.InstanceID(first.GetInstanceId())
	if !legalID.MatchString(string(id)) {
		return invalid("cannot open the console of the instance %q: not an id", id)
	}
	line, err := s.a.openConsole(stream.Context(), id)
	if err != nil {
		return err
	}
	refused, ended := make(chan error, 1), make(chan struct{})
	s.a.works.Go(func() { copyIn(line, stream, first, refused) }) // ends with the stream, which is when we return

	var outcome error // may be read when ended is closed
	go func() {
		defer close(ended)
		outcome = copyOut(stream, line)
	}()
	select {
	case <-ended:
		_ = line.Close()
		return outcome
	case err = <-refused:
	case <-stream.Context().Done():
		err = context.Cause(stream.Context())
	case <-s.a.halted:
		err = unavailable("%v", errStopping)
	}
	_ = line.Close()
	<-ended // nothing may be sent after the return
	return err
}

func (a *Agent) openConsole(ctx context.Context, id vm.InstanceID) (io.ReadWriteCloser, error) {
	p, ok := a.driver.(drivers.Consoler)
	if !ok {
		return nil, vm.Refuse(vm.ReasonUnsupported, "cannot open the console of %s: the driver %s has none", id, a.info.Driver)
	}
	line, err := p.Console(ctx, id)
	if err != nil {
		return nil, vm.Refuse(reasonOf(err), "cannot open the console of %s: %v", id, err)
	}
	return line, nil
}

// copyIn tells refused what the line does not take. A caller who has no more to say may still listen.
func copyIn(line io.Writer, stream consoleStream, in *computev1.ConsoleInput, refused chan<- error) {
	for err := error(nil); err == nil; in, err = stream.Recv() {
		if len(in.GetData()) == 0 {
			continue
		}
		if _, err := line.Write(in.GetData()); err != nil {
			refused <- fmt.Errorf("cannot write to the console: %w", err)
			return
		}
	}
}

// copyOut has a buffer of its own for each message, because gRPC may still be sending the last one.
func copyOut(stream consoleStream, line io.Reader) error {
	for {
		buf := make([]byte, 4096)
		n, err := line.Read(buf)
		if n > 0 {
			if err := stream.Send(&computev1.ConsoleOutput{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
