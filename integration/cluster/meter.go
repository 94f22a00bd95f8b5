package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// calm is how long nothing must be written until a cluster has settled: longer than anything that is put off on purpose,
// which is the rest of an observation.
const calm = time.Second

// Settle waits until the cluster writes nothing any more.
func (c *Cluster) Settle() {
	c.t.Helper()
	last, since := c.Etcd.RaftIndex(), time.Now()
	c.Await("calm", func() bool {
		if now := c.Etcd.RaftIndex(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > calm
	})
}

// Renewals counts keep-alives that the store has answered, Reads the ranges and watches it was asked for, Writes the
// transactions: since the start of the process, by everybody.
func (c *Cluster) Renewals() float64 { return c.counter("etcd_debugging_lease_renewed_total", "") }

// Reads counts what the store was asked.
func (c *Cluster) Reads() float64 {
	return c.counter("grpc_server_started_total", "Range") + c.counter("grpc_server_started_total", "Watch")
}

func (c *Cluster) counter(name, method string) float64 {
	c.t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(c.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			fits := method == ""
			for _, l := range m.GetLabel() {
				fits = fits || l.GetName() == "grpc_method" && l.GetValue() == method
			}
			if fits {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
