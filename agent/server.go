package agent

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	computev1 "leasehold/api/compute/v1"
	"leasehold/vm"
)

// server is the agent as conductors see it. Errors become statuses in the interceptors.
type server struct {
	computev1.UnimplementedComputeServer
	a *Agent
}

// progressEvery is the least time between two reports on one stream. What comes between is left out, the last is not.
const progressEvery = 100 * time.Millisecond

func (s *server) Fence(ctx context.Context, req *computev1.FenceRequest) (*computev1.Observation, error) {
	c, err := claimOf(req)
	if err != nil {
		return nil, err
	}
	obs, err := s.a.fence(ctx, c, req.GetKill())
	return obs, s.counted(err)
}

func (s *server) Run(req *computev1.RunRequest, stream grpc.ServerStreamingServer[computev1.RunUpdate]) error {
	o, err := orderOf(req, s.a.key)
	if err != nil {
		return err
	}
	w, known, err := s.a.admit(stream.Context(), o)
	if err != nil {
		return s.counted(err)
	}
	if known != nil {
		return stream.Send(resultUpdate(*known, s.a.mustObserve(stream.Context(), o.instance)))
	}
	defer w.leave()
	return s.follow(w, stream)
}

// follow sends what w reports, and its result.
func (s *server) follow(w *work, stream grpc.ServerStreamingServer[computev1.RunUpdate]) error {
	ctx := stream.Context()
	for sent := 0; ; {
		ended := isClosed(w.done) // asked before the report is read, so that the last one is not missed
		p, n, moved := w.latest()
		if n > sent {
			sent = n
			if err := stream.Send(progressUpdate(p)); err != nil {
				return err
			}
		}
		if ended {
			if w.err != nil {
				return unavailable("cannot say how step %q ended: %v", w.order.step, w.err)
			}
			return stream.Send(resultUpdate(w.verdict, w.observation))
		}
		select {
		case <-w.done:
		case <-moved:
			sleepUntil(ctx, w.done, progressEvery)
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (s *server) Observe(ctx context.Context, req *computev1.ObserveRequest) (*computev1.Observation, error) {
	if !legalID.MatchString(req.GetInstanceId()) {
		return nil, invalid("cannot observe the instance %q: not an id", req.GetInstanceId())
	}
	return s.a.mustObserve(ctx, vm.InstanceID(req.GetInstanceId())), nil
}

func (s *server) List(ctx context.Context, _ *computev1.ListRequest) (*computev1.ListResponse, error) {
	all, err := s.a.observeAll(ctx)
	if err != nil {
		return nil, err
	}
	return &computev1.ListResponse{Machines: all}, nil
}

func (s *server) Stats(ctx context.Context, _ *computev1.StatsRequest) (*computev1.StatsResponse, error) {
	machines, err := s.a.driver.List(ctx)
	if err != nil {
		return nil, err
	}
	stats := &computev1.StatsResponse{
		Machines:      int64(len(machines)),
		Steps:         s.a.counted.steps.Load(),
		RefusedFences: s.a.counted.refused.Load(),
		Syncs:         s.a.book.syncCount(),
		Load1:         load1(),
	}
	for _, m := range machines {
		if m.PowerState == vm.PowerRunning {
			stats.Running++
		}
	}
	return stats, nil
}

// Events subscribes before it looks, so no change falls between; what was seen twice is sent once. It begins with the first
// registration: an observation without an epoch is older than every other, and would be ignored.
func (s *server) Events(_ *computev1.EventsRequest, stream grpc.ServerStreamingServer[computev1.Observation]) error {
	ctx := stream.Context()
	select {
	case <-s.a.registered:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.a.halted:
		return unavailable("%v", errStopping)
	}
	sub := s.a.hub.subscribe()
	defer s.a.hub.unsubscribe(sub)
	all, err := s.a.observeAll(ctx)
	if err != nil {
		return err
	}
	for _, obs := range all {
		sub.put(obs)
	}
	for {
		for _, obs := range sub.take() {
			if err := stream.Send(obs); err != nil {
				return err
			}
		}
		select {
		case <-sub.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.a.halted:
			return unavailable("%v", errStopping)
		}
	}
}

// counted counts refusals of those that were replaced.
func (s *server) counted(err error) error {
	if err != nil && vm.ReasonOf(err) == vm.ReasonStaleFence {
		s.a.counted.refused.Add(1)
	}
	return err
}

// load1 is 0 where the kernel does not say.
func load1() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func sleepUntil(ctx context.Context, done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	case <-ctx.Done():
	}
}
