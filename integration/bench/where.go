package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"leasehold/integration/processes"
)

// spent is the sum and count of one timing over all conductors.
type spent struct{ seconds, count float64 }

// timings reads what the conductors have measured of stops: the whole task, its step, its transactions.
func (c *bench) timings(ctx context.Context) (map[string]spent, error) {
	out := map[string]spent{}
	for _, p := range c.Role(processes.Conductors) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.HTTP+"/metrics", nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot read the metrics of %s: %w", p.Name, err)
		}
		for name, f := range families {
			for _, m := range f.GetMetric() {
				if label, ok := timingOf(name, m); ok {
					s := out[label]
					out[label] = spent{s.seconds + m.GetHistogram().GetSampleSum(), s.count + float64(m.GetHistogram().GetSampleCount())}
				}
			}
		}
	}
	return out, nil
}

func timingOf(name string, m *dto.Metric) (string, bool) {
	value := func(label string) string {
		i := slices.IndexFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == label })
		if i < 0 {
			return ""
		}
		return m.GetLabel()[i].GetValue()
	}
	switch {
	case name == "leasehold_task_seconds" && value("kind") == "stop":
		return "task, admission to end", true
	case name == "leasehold_step_seconds" && value("kind") == "stop":
		return "  agent call " + value("step"), true
	case name == "leasehold_etcd_txn_seconds" && strings.HasPrefix(value("txn"), "stop."):
		return "  transaction " + value("txn"), true
	}
	return "", false
}

// printTimings says where the time of a stop went between two readings.
func printTimings(before, after map[string]spent) {
	for _, label := range slices.Sorted(maps.Keys(after)) {
		count := after[label].count - before[label].count
		if count > 0 {
			fmt.Printf("  %-32s %6.2f ms mean of %.0f\n", label, 1000*(after[label].seconds-before[label].seconds)/count, count)
		}
	}
}
