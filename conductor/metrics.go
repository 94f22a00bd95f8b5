package conductor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"leasehold/vm"
	"leasehold/workflow"
)

// metrics is what /metrics shows. It is the Observer of the store and of every flow.
type metrics struct {
	registry  *prometheus.Registry
	admitted  *prometheus.CounterVec
	ended     *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	steps     *prometheus.HistogramVec
	takeovers prometheus.Counter
	preempted prometheus.Counter
	refused   prometheus.Counter
	stuck     *prometheus.CounterVec
	txns      *prometheus.HistogramVec
	txnBytes  *prometheus.CounterVec
	reads     *prometheus.HistogramVec
}

var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "leasehold", Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "leasehold", Name: name, Help: help}, labels)
	}
	times := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "leasehold", Name: name, Help: help, Buckets: buckets,
		}, labels)
	}
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		admitted:  counters("tasks_admitted_total", "Tasks admitted by this conductor.", "kind"),
		ended:     counters("tasks_ended_total", "Tasks that this conductor ended.", "kind", "status"),
		duration:  times("task_seconds", "Time from admission to end.", "kind", "status"),
		steps:     times("step_seconds", "Time of one turn of one step.", "kind", "step", "op", "outcome"),
		takeovers: counter("takeovers_total", "Orphaned tasks taken over."),
		preempted: counter("preempted_total", "Tasks closed by a delete."),
		refused:   counter("refused_fences_total", "Calls of this conductor that an agent refused because a newer fence was known."),
		stuck:     counters("step_waits_total", "Tries of steps that failed and wait to be made again.", "kind", "step", "op"),
		txns:      times("etcd_txn_seconds", "Time of one transaction, retries included.", "txn", "outcome"),
		txnBytes:  counters("etcd_txn_bytes_total", "Bytes of keys and values written.", "txn"),
		reads:     times("etcd_read_seconds", "Time of one read.", "table", "outcome"),
	}
	m.registry.MustRegister(m.admitted, m.ended, m.duration, m.steps, m.takeovers, m.preempted, m.refused, m.stuck, m.txns,
		m.txnBytes, m.reads)
	return m
}

// gauges adds what is counted when it is asked for.
func (m *metrics) gauges(driving, open func() int) {
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "leasehold", Name: name, Help: help},
			func() float64 { return float64(f()) })
	}
	m.registry.MustRegister(
		gauge("tasks_driving", "Tasks that this conductor drives now.", driving),
		gauge("tasks_open", "Open tasks in the store.", open),
	)
}

// Committed and Read are the store's Observer.
func (m *metrics) Committed(txn string, took time.Duration, _, bytes int, err error) {
	m.txns.WithLabelValues(txn, outcome(err)).Observe(took.Seconds())
	m.txnBytes.WithLabelValues(txn).Add(float64(bytes))
}

func (m *metrics) Read(table string, took time.Duration, err error) {
	m.reads.WithLabelValues(table, outcome(err)).Observe(took.Seconds())
}

func (m *metrics) taskEnded(t *vm.Task) {
	m.ended.WithLabelValues(string(t.Kind), string(t.Status)).Inc()
	m.duration.WithLabelValues(string(t.Kind), string(t.Status)).Observe(t.EndedAt.Sub(t.CreatedAt).Seconds())
}

func (m *metrics) flow(kind vm.Verb) workflow.Observer { return flowMetrics{m, string(kind)} }

type flowMetrics struct {
	m    *metrics
	kind string
}

func (flowMetrics) StepStarted(string, workflow.Op) {}

func (f flowMetrics) StepEnded(step string, op workflow.Op, took time.Duration, err error) {
	f.m.steps.WithLabelValues(f.kind, step, string(op), outcome(err)).Observe(took.Seconds())
}

func (flowMetrics) StepProgress(string, workflow.Progress) {}

func (f flowMetrics) StepWaits(step string, w workflow.Wait) {
	f.m.stuck.WithLabelValues(f.kind, step, string(w.Op)).Inc()
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return "error"
}
