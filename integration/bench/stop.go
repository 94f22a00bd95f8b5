package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"leasehold/integration/processes"
)

type answer struct {
	Instance struct {
		ID string `json:"id"`
	} `json:"instance"`
	Task struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"task"`
}

// makeInstances creates n instances, spread over the conductors.
func (c *bench) makeInstances(ctx context.Context, n, clients int) ([]string, error) {
	ids := make([]string, n)
	return ids, c.each(ctx, n, clients, func(ctx context.Context, i int, url string) error {
		var a answer
		body := fmt.Sprintf(`{"name":"b%05d","flavor":"tiny","image":"default"}`, i)
		if err := c.Call(ctx, http.MethodPost, url+"/v1/instances", body, &a); err != nil {
			return err
		}
		ids[i] = a.Instance.ID
		return c.wait(ctx, url, a.Task.ID)
	})
}

// each runs do for 0..n-1 by so many clients, each of which keeps to one conductor.
func (c *bench) each(ctx context.Context, n, clients int, do func(ctx context.Context, i int, url string) error) error {
	conductors := c.Role(processes.Conductors)
	work := make(chan int)
	group, ctx := errgroup.WithContext(ctx)
	for k := range clients {
		url := conductors[k%len(conductors)].HTTP
		group.Go(func() error {
			for i := range work {
				if err := do(ctx, i, url); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(work)
		for i := range n {
			select {
			case work <- i:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	return group.Wait()
}

func (c *bench) verb(ctx context.Context, url, id, verb, body string) error {
	var a answer
	if err := c.Call(ctx, http.MethodPost, url+"/v1/instances/"+id+":"+verb, body, &a); err != nil {
		return err
	}
	return c.wait(ctx, url, a.Task.ID)
}

func (c *bench) wait(ctx context.Context, url, task string) error {
	var t struct {
		Status string `json:"status"`
		Error  any    `json:"error"`
	}
	if err := c.Call(ctx, http.MethodGet, url+"/v1/tasks/"+task+":wait?timeout=60s", "", &t); err != nil {
		return err
	}
	if t.Status != "succeeded" {
		return fmt.Errorf("cannot go on: task %s is %s: %v", task, t.Status, t.Error)
	}
	return nil
}

// round measures the floor, then the stops of all instances, and starts them again.
func (c *bench) round(ctx context.Context, o options, ids []string, last bool) (result, error) {
	r := result{cpu: map[string]float64{}}
	floor, err := c.floor(ctx, o.clients, len(ids))
	if err != nil {
		return r, err
	}
	r.floor = floor
	var profiler sync.WaitGroup
	if last && o.profile != "" {
		profiler.Go(func() {
			if err := c.profile(ctx, o.profile); err != nil {
				fmt.Fprintln(os.Stderr, "bench: no profile:", err)
			}
		})
	}
	timed, err := c.timings(ctx)
	if err != nil {
		return r, err
	}
	before, err := c.CPU()
	if err != nil {
		return r, err
	}
	began := time.Now()
	err = c.each(ctx, len(ids), o.clients, func(ctx context.Context, i int, url string) error {
		return c.verb(ctx, url, ids[i], "stop", `{"force":true}`)
	})
	took := time.Since(began)
	if err != nil {
		return r, err
	}
	after, err := c.CPU()
	if err != nil {
		return r, err
	}
	now, err := c.timings(ctx)
	if err != nil {
		return r, err
	}
	printTimings(timed, now)
	r.stops = float64(len(ids)) / took.Seconds()
	for role, d := range after {
		r.cpu[role] = float64((d - before[role]).Microseconds()) / 1000 / float64(len(ids))
	}
	profiler.Wait()
	return r, c.each(ctx, len(ids), o.clients, func(ctx context.Context, i int, url string) error {
		return c.verb(ctx, url, ids[i], "start", "")
	})
}

// floor makes n times two raw transactions of the shape of a stop: as many compares, puts, deletes and bytes, leased where
// a stop's are.
func (c *bench) floor(ctx context.Context, clients, n int) (float64, error) {
	lease, err := c.Client.Grant(ctx, 600)
	if err != nil {
		return 0, err
	}
	run := rand.Text()
	key := func(kind string, i int) string { return fmt.Sprintf("/floor/%s/%s/%d", run, kind, i) }
	record, small := strings.Repeat("x", 800), strings.Repeat("x", 180)
	began := time.Now()
	err = c.each(ctx, n, clients, func(ctx context.Context, i int, _ string) error {
		leased := clientv3.WithLease(lease.ID)
		admit, err := c.Client.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(key("store", 0)), "=", 0),
			clientv3.Compare(clientv3.ModRevision(key("instance", i)), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(key("lock", i)), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(key("claim", i)), "=", 0),
		).Then(
			clientv3.OpPut(key("task", i), record), clientv3.OpPut(key("instance", i), record),
			clientv3.OpPut(key("claim", i), small, leased), clientv3.OpPut(key("lock", i), small, leased),
		).Commit()
		if err != nil || !admit.Succeeded {
			return errors.Join(err, errors.New("cannot make the first transaction of the floor"))
		}
		finish, err := c.Client.Txn(ctx).If(
			clientv3.Compare(clientv3.CreateRevision(key("claim", i)), "=", admit.Header.Revision),
			clientv3.Compare(clientv3.ModRevision(key("store", 0)), "=", 0),
			clientv3.Compare(clientv3.ModRevision(key("task", i)), "=", admit.Header.Revision),
			clientv3.Compare(clientv3.ModRevision(key("instance", i)), "=", admit.Header.Revision),
		).Then(
			clientv3.OpPut(key("instance", i), record), clientv3.OpPut(key("observed", i), small),
			clientv3.OpPut(key("history", i), record), clientv3.OpPut(key("index", i), small),
			clientv3.OpDelete(key("task", i)), clientv3.OpDelete(key("cancel", i)),
			clientv3.OpDelete(key("claim", i)), clientv3.OpDelete(key("lock", i)),
		).Commit()
		if err != nil || !finish.Succeeded {
			return errors.Join(err, errors.New("cannot make the second transaction of the floor"))
		}
		return nil
	})
	return float64(n) / time.Since(began).Seconds(), err
}

// profile takes a CPU profile of the first conductor.
func (c *bench) profile(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Role(processes.Conductors)[0].HTTP+"/debug/pprof/profile?seconds=2", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, resp.Body)
	return err
}
