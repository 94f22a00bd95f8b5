package cluster

import (
	"cmp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Trap freezes one process when it reaches a point for the nth time.
type Trap struct {
	Who   string
	Point string
	Nth   int

	stall  bool // freeze the goroutine only; the process is not killed
	count  atomic.Int64
	sprung chan struct{}
	thaw   chan struct{}
	once   sync.Once
}

// Sprung is closed when the point was reached and the process killed.
func (t *Trap) Sprung() <-chan struct{} { return t.sprung }

// Await waits until the point was reached, or fails the test.
func (t *Trap) Await(tb testing.TB) {
	tb.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	select {
	case <-t.sprung:
	case <-deadline.C:
		tb.Fatalf("%s did not come to %s for the %d. time within %v", cmp.Or(t.Who, "nobody"), t.Point, t.Nth, Patience)
	}
}

// Thaw lets the frozen goroutine go on, as a stopped process that continues.
func (t *Trap) Thaw() { t.once.Do(func() { close(t.thaw) }) }

// Trap kills who (a conductor's or host's name, empty for whoever comes first) when it reaches point for the nth time,
// counted from now on over all processes that match.
func (c *Cluster) Trap(who, point string, nth int) *Trap {
	return c.trap(&Trap{Who: who, Point: point, Nth: nth})
}

// Hold freezes the goroutine of who that reaches point for the nth time, and leaves the process alive.
func (c *Cluster) Hold(who, point string, nth int) *Trap {
	return c.trap(&Trap{Who: who, Point: point, Nth: nth, stall: true})
}

func (c *Cluster) trap(t *Trap) *Trap {
	t.sprung, t.thaw = make(chan struct{}), make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traps = append(c.traps, t)
	return t
}

// reached is called by every process at every point. It does not return while the process is frozen.
func (c *Cluster) reached(who, point string, kill func()) {
	c.mu.Lock()
	var hit *Trap
	for _, t := range c.traps {
		if (t.Who == "" || t.Who == who) && t.Point == point && t.count.Add(1) == int64(t.Nth) {
			hit = t
		}
	}
	c.mu.Unlock()
	if c.opts.Point != nil {
		c.opts.Point(who, point)
	}
	if hit == nil {
		return
	}
	if !hit.stall {
		kill()
	}
	close(hit.sprung)
	<-hit.thaw
}
