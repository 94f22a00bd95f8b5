package client

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/rpc"
	"leasehold/vm"
)

var errAllTold = errors.New("all is told")

// Happenings says which events to follow.
type Happenings struct {
	Instance string        // only what concerns this one; empty for everything in the project
	From     int64         // the first revision; 0 is the next one
	Quiet    time.Duration // all is told when a server that answers has said nothing for so long; 0 goes on for ever
}

// FollowEvents calls each with every event that is wanted, until all is told or each fails. It returns also with any
// refusal but store_unavailable, with the last error after Config.Timeout without any answer, and when ctx ends.
//
// A stream that breaks, or is silent for Config.Silence while the server answers nothing else either, is opened again
// on the next server at the revision it had come to; what was told of that is not told twice. A conductor remembers
// only so much: when none of them knows what came next the answer is too_late, because going on would hide a gap.
func (c *Client) FollowEvents(ctx context.Context, want Happenings, each func(*conductorv1.Event) error) error {
	f := &follower{c: c, want: want, at: want.From, told: map[happening]bool{}, each: each}
	refused := 0
	for f.heard(); ; {
		told := f.at
		err := f.listen(ctx)
		if f.at > told {
			refused = 0
		}
		switch late := vm.ReasonOf(err) == vm.ReasonTooLate; {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			return nil
		case late && refused < len(c.servers.servers)-1: // another one may have lived longer
			refused++
			c.servers.next()
			continue
		case late || !elsewhere(err) || f.silent() > c.cfg.Timeout:
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

// follower is somebody who follows, and how far he has come.
type follower struct {
	c    *Client
	want Happenings
	each func(*conductorv1.Event) error

	at   int64              // the newest revision that was told, or the first one that will be
	told map[happening]bool // of revision at: one transaction makes several events

	answered atomic.Pointer[time.Time] // when a server last said anything
}

type happening struct{ kind, id string }

func (f *follower) heard() {
	now := time.Now()
	f.answered.Store(&now)
}

func (f *follower) silent() time.Duration { return time.Since(*f.answered.Load()) }

// listen follows one stream until it breaks; nil when all is told.
func (f *follower) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	asking := make(chan struct{})
	defer func() { cancel(nil); <-asking }()
	if err := f.begin(ctx); err != nil {
		close(asking)
		return err
	}
	go func() {
		defer close(asking)
		f.keepAsking(ctx)
	}()
	st, err := f.c.Events(ctx, &conductorv1.EventsRequest{FromRevision: f.at, Instance: f.want.Instance})
	if err != nil {
		return err
	}
	more := func() {}
	if f.want.Quiet > 0 {
		enough := time.AfterFunc(f.want.Quiet, func() { cancel(errAllTold) })
		defer enough.Stop()
		more = func() { enough.Reset(f.want.Quiet) }
	}
	for {
		e, err := st.Recv()
		switch {
		case errors.Is(context.Cause(ctx), errAllTold):
			return nil
		case errors.Is(err, io.EOF):
			f.c.servers.next()
			return &rpc.NoAnswerError{Code: codes.Unavailable, Message: "the conductor stopped"}
		case err != nil:
			return err
		}
		f.heard()
		more()
		if !f.news(e) {
			continue
		}
		if err := f.each(e); err != nil {
			return err
		}
	}
}

// begin finds a server that answers, and where to begin: at the next revision there, so that nothing is missed when it
// dies before its first event.
func (f *follower) begin(ctx context.Context) error {
	now, err := f.c.ListInstances(ctx, &conductorv1.ListInstancesRequest{PageSize: 1})
	if err != nil {
		return err
	}
	f.heard()
	if f.at == 0 {
		f.at = now.GetRevision() + 1
	}
	return nil
}

// keepAsking asks the server for anything from time to time: nothing may happen for hours, and a stopped process does
// not break its connections. One that does not answer is left, and its stream ends with its connection. It asks at
// least twice in Config.Timeout, so that a stream that breaks after hours is not taken for one that was silent since.
func (f *follower) keepAsking(ctx context.Context) {
	ticks := time.NewTicker(min(f.c.cfg.Silence, f.c.cfg.Timeout/2))
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			_, err := f.c.ListConductors(ctx, &conductorv1.ListRequest{PageSize: 1})
			if !elsewhere(err) && ctx.Err() == nil { // a refusal is an answer, too
				f.heard()
			}
		case <-ctx.Done():
			return
		}
	}
}

// news says whether an event was not told before, and remembers it. A server that lags tells what another one has told.
func (f *follower) news(e *conductorv1.Event) bool {
	h := happening{e.GetKind(), e.GetId()}
	switch {
	case e.GetRevision() < f.at || e.GetRevision() == f.at && f.told[h]:
		return false
	case e.GetRevision() > f.at:
		f.at, f.told = e.GetRevision(), map[happening]bool{}
	}
	f.told[h] = true
	return true
}
