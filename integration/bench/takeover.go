package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"leasehold/integration/processes"
)

// takeovers kills the conductor that drives a slow create, so many times, and measures until the task is claimed again. The
// floor is what this takes at least: to revoke a lease, to see its key go, to write a claim.
func (c *bench) takeovers(ctx context.Context, n int) error {
	var times, floors []time.Duration
	for i := range n {
		floor, err := c.takeoverFloor(ctx)
		if err != nil {
			return err
		}
		took, err := c.takeover(ctx, i)
		if err != nil {
			return err
		}
		times, floors = append(times, took), append(floors, floor)
	}
	slices.Sort(times)
	slices.Sort(floors)
	fmt.Printf("takeover after kill -9, session TTL 10 s: median %v, worst %v of %d; floor (revoke, see, claim) %v: %.1f times the floor\n",
		times[n/2].Round(100*time.Microsecond), times[n-1].Round(100*time.Microsecond), n, floors[n/2].Round(100*time.Microsecond),
		float64(times[n/2])/float64(floors[n/2]))
	return nil
}

func (c *bench) takeover(ctx context.Context, i int) (time.Duration, error) {
	var a answer
	alive := c.Role(processes.Conductors)
	body := fmt.Sprintf(`{"name":"slow%d","flavor":"tiny","image":"default","metadata":{"sim.latency.spawn":"3s"}}`, i)
	if err := c.Call(ctx, http.MethodPost, alive[0].HTTP+"/v1/instances", body, &a); err != nil {
		return 0, err
	}
	claim := c.Keys.Root() + "claims/" + a.Task.ID
	first, err := c.Client.Get(ctx, claim)
	if err != nil || len(first.Kvs) == 0 {
		return 0, errors.Join(err, fmt.Errorf("cannot find the claim of task %s", a.Task.ID))
	}
	watch := c.Client.Watch(ctx, claim, clientv3.WithRev(first.Header.Revision+1))
	victim, err := c.holder(first.Kvs[0].Value)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := victim.Cmd.Process.Kill(); err != nil {
		return 0, err
	}
	var took time.Duration
	for resp := range watch {
		for _, ev := range resp.Events {
			if ev.IsCreate() {
				took = time.Since(began)
			}
		}
		if took > 0 {
			break
		}
	}
	c.Gone(victim)
	if err := c.wait(ctx, c.Role(processes.Conductors)[0].HTTP, a.Task.ID); err != nil {
		return 0, err
	}
	_, err = c.StartConductor(ctx)
	return took, err
}

func (c *bench) holder(value []byte) (*processes.Process, error) {
	var v struct {
		Conductor string `json:"conductor"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return nil, err
	}
	for _, p := range c.Role(processes.Conductors) {
		if p.Name == v.Conductor {
			return p, nil
		}
	}
	return nil, fmt.Errorf("cannot find conductor %s", v.Conductor)
}

func (c *bench) takeoverFloor(ctx context.Context) (time.Duration, error) {
	lease, err := c.Client.Grant(ctx, 60)
	if err != nil {
		return 0, err
	}
	put, err := c.Client.Put(ctx, "/floor/claim", "x", clientv3.WithLease(lease.ID))
	if err != nil {
		return 0, err
	}
	watch := c.Client.Watch(ctx, "/floor/claim", clientv3.WithRev(put.Header.Revision+1))
	began := time.Now()
	if _, err := c.Client.Revoke(ctx, lease.ID); err != nil {
		return 0, err
	}
	<-watch
	_, err = c.Client.Put(ctx, "/floor/claim", "x")
	return time.Since(began), err
}
