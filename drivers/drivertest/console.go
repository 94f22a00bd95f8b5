package drivertest

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"leasehold/drivers"
	"leasehold/vm"
)

func consoleOfNothing(h *host) {
	id := h.Spec(h.t).ID
	c := h.d.(drivers.Consoler)
	_, err := c.Console(h.t.Context(), id)
	require.ErrorIs(h.t, err, drivers.ErrNoMachine)
	_, err = c.ConsoleLog(h.t.Context(), id, 100)
	require.ErrorIs(h.t, err, drivers.ErrNoMachine)
}

func consoleIsLive(h *host) {
	id := h.started()
	h.logs(id, h.Console.Banner)
	for range 2 { // a line that was closed can be opened again
		h.talks(id)
	}
	h.logs(id, h.Console.Reply)
	h.restart()
	h.logs(id, h.Console.Banner)
	h.talks(id)

	ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
	defer cancel()
	last, err := h.d.(drivers.Consoler).ConsoleLog(ctx, id, 3)
	require.NoError(h.t, err)
	require.Len(h.t, last, 3, "the log is longer than that")
}

// logs waits until the log holds the text.
func (h *host) logs(id vm.InstanceID, text string) {
	h.t.Helper()
	h.until("the log's "+text, func() bool {
		ctx, cancel := context.WithTimeout(h.t.Context(), Patience)
		defer cancel()
		log, err := h.d.(drivers.Consoler).ConsoleLog(ctx, id, 1<<16)
		require.NoError(h.t, err)
		return strings.Contains(string(log), text)
	})
}

// talks opens the line, says Send each second until it hears Reply (a guest may not have listened yet), and hangs up. A
// read that is under way ends with the line.
func (h *host) talks(id vm.InstanceID) {
	h.t.Helper()
	line, err := h.d.(drivers.Consoler).Console(h.t.Context(), id)
	require.NoError(h.t, err)
	heard, reading := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reading)
		listen(line, h.Console.Reply, heard)
	}()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	deadline := time.After(Patience)
	for answered := false; !answered; {
		_, err := io.WriteString(line, h.Console.Send)
		require.NoError(h.t, err)
		select {
		case <-heard:
			answered = true
		case <-again.C:
		case <-deadline:
			require.FailNow(h.t, "the console does not say "+h.Console.Reply)
		}
	}
	require.NoError(h.t, line.Close())
	select {
	case <-reading:
	case <-time.After(Patience):
		require.FailNow(h.t, "a read does not end with its line")
	}
}

// listen reads to the end of the line and tells when it has heard reply.
func listen(line io.Reader, reply string, heard chan<- struct{}) {
	var all strings.Builder
	buf := make([]byte, 512)
	for told := false; ; {
		n, err := line.Read(buf)
		all.Write(buf[:n])
		if !told && strings.Contains(all.String(), reply) {
			told = true
			close(heard)
		}
		if err != nil {
			return
		}
	}
}
