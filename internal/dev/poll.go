package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// patience is how long anything may take to be ready; a loaded machine is slow.
const patience = time.Minute

// poll asks again and again until it is true, one of the children has ended, or patience is at its end.
func poll(ctx context.Context, children []*child, what string, reached func(context.Context) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took longer than %s", patience))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !reached(ctx) {
		for _, c := range children {
			if c.over() {
				return fmt.Errorf("cannot wait for %s: %s ended (%s):%s", what, c.Name, exitWord(c.exit), c.lastWords())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for %s: %w; see the logs", what, context.Cause(ctx))
		}
	}
	return nil
}

func exitWord(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// get returns the body of an answer 200.
func get(ctx context.Context, url string) (body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("cannot get %s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// client keeps no connection: the servers come and go.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// hostsUp counts the computes that a conductor calls up. The address tells them from what an earlier run left in the store.
func hostsUp(ctx context.Context, base string, computes []*child) int {
	body, err := get(ctx, base+"/v1/hosts?page_size=1000")
	if err != nil {
		return 0
	}
	var list struct {
		Hosts []struct{ Name, Status, Address string }
	}
	if json.Unmarshal(body, &list) != nil {
		return 0
	}
	up := 0
	for _, h := range list.Hosts {
		if h.Status == "up" && slices.ContainsFunc(computes, func(c *child) bool {
			return c.Name == h.Name && c.Address == h.Address
		}) {
			up++
		}
	}
	return up
}
