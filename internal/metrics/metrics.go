// Package metrics counts what a long-running updater does, for Prometheus: its rounds, commits and webhooks, the requests that
// it sends, and how the branches stand that it keeps up to date. docs/metrics.md lists them all.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ksera524/imgbump/internal/status"
)

// Metrics are all that one process has. Methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	rounds, events, commits, decisions, webhooks *prometheus.CounterVec
	took, lag                                    *prometheus.HistogramVec
	registries, git                              requests
}

// New are the metrics of a version of the program, and of what the board says.
func New(version string, board *status.Board) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.rounds = m.counter("rounds_total", "Rounds of a target.", "target", "outcome")
	m.took = m.histogram("round_duration_seconds", "How long rounds of a target took.", []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}, "target")
	m.events = m.counter("round_events_total", "Pushes of images that rounds of a target took care of.", "target")
	m.commits = m.counter("commits_total", "Commits published.", "target")
	m.lag = m.histogram("push_to_commit_seconds", "From the oldest push to the commit that it led to; none for a commit that polling led to.", []float64{.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800}, "target")
	m.decisions = m.counter("decisions_total", "What rounds of a target came to, image by image.", "target", "outcome")
	m.webhooks = m.counter("webhooks_total", "Requests to the webhook receiver.", "kind", "outcome")
	m.registries = m.requests("registry", "registries")
	m.git = m.requests("git", "git servers")
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "imgbump_build_info", Help: "1, labelled with what runs.",
		ConstLabels: prometheus.Labels{"version": label(version), "goversion": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(build, onBoard{board}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin(board)
	return m
}

// begin makes the counters of all targets begin at 0, for a rate needs a value before the first change.
func (m *Metrics) begin(board *status.Board) {
	now, _ := board.Snapshot()
	for _, t := range now.Targets {
		target := label(t.Name)
		for _, outcome := range []string{"ok", "partial", "failed"} {
			m.rounds.WithLabelValues(target, outcome)
		}
		for _, outcome := range []string{"chosen", "none", "held", "failed"} {
			m.decisions.WithLabelValues(target, outcome)
		}
		m.events.WithLabelValues(target)
		m.commits.WithLabelValues(target)
		m.took.WithLabelValues(target)
		m.lag.WithLabelValues(target)
	}
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}

// Round counts a round of a target, and the pushes of images that it took care of.
func (m *Metrics) Round(target string, r status.Round, took time.Duration, events int) {
	target = label(target)
	outcome := "ok"
	switch {
	case r.Err != nil:
		outcome = "failed"
	case len(r.Failures) > 0:
		outcome = "partial"
	}
	m.rounds.WithLabelValues(target, outcome).Inc()
	m.took.WithLabelValues(target).Observe(took.Seconds())
	m.events.WithLabelValues(target).Add(float64(events))
	m.commits.WithLabelValues(target).Add(float64(len(r.Commits)))
	for _, c := range r.Commits {
		if c.Lag > 0 {
			m.lag.WithLabelValues(target).Observe(c.Lag.Seconds())
		}
	}
	for _, i := range r.Images {
		m.decisions.WithLabelValues(target, decided(i)).Inc()
	}
}

// decided is what came of looking for a version of an image.
func decided(i status.Image) string {
	switch {
	case i.Err != "":
		return "failed"
	case i.Newest != "":
		return "chosen"
	case free(i):
		return "none"
	}
	return "held"
}

// Webhook counts a request to the receiver.
func (m *Metrics) Webhook(kind, outcome string) {
	m.webhooks.WithLabelValues(label(kind), label(outcome)).Inc()
}

// RegistryRequest counts a request to a registry; the status is that of HTTP, 0 when there was no answer.
func (m *Metrics) RegistryRequest(host, operation string, status int, took time.Duration) {
	m.registries.add(host, operation, status, took)
}

// GitRequest counts a request to a git server, likewise.
func (m *Metrics) GitRequest(host, operation string, status int, took time.Duration) {
	m.git.add(host, operation, status, took)
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "imgbump_" + name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "imgbump_" + name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}
