package cluster

import (
	"bufio"
	"net/http"
	"slices"
	"strconv"
	"strings"
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

// Renewals counts keep-alives that the store has answered since the start of the process, to everybody.
func (c *Cluster) Renewals() int { return c.counter("etcd_debugging_lease_renewed_total", "") }

// Reads counts the ranges and watches that the store was asked for since then.
func (c *Cluster) Reads() int {
	return c.counter("grpc_server_started_total", "Range") + c.counter("grpc_server_started_total", "Watch")
}

// Metric sums the samples of one name in the replica's /metrics that have all the labels given, as they stand there:
// txn="stop.admit".
func (x *Conductor) Metric(name string, labels ...string) int {
	x.c.t.Helper()
	req, err := http.NewRequestWithContext(x.c.t.Context(), http.MethodGet, "http://"+x.HTTP+"/metrics", http.NoBody)
	require.NoError(x.c.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(x.c.t, err)
	defer resp.Body.Close()
	sum := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		sample, value, _ := strings.Cut(lines.Text(), " ")
		if is, _, _ := strings.Cut(sample, "{"); is != name {
			continue
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(sample, l) }) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		require.NoError(x.c.t, err)
		sum += int(n)
	}
	return sum
}

func (c *Cluster) counter(name, method string) int {
	c.t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(c.t, err)
	sum := 0
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
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}
