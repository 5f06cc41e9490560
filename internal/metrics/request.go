package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxHosts is how many hosts have metrics of their own. Redirects and token services bring in more than are configured.
const maxHosts = 50

const other = "other"

// requests are those to one kind of server.
type requests struct {
	total *prometheus.CounterVec
	took  *prometheus.HistogramVec
	hosts *hosts
}

func (m *Metrics) requests(name, whom string) requests {
	return requests{
		total: m.counter(name+"_requests_total", "Requests to "+whom+", with HTTP's status.", "host", "operation", "code"),
		took: m.histogram(name+"_request_duration_seconds", "How long "+whom+" took to begin an answer.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "host", "operation"),
		hosts: &hosts{own: map[string]bool{}},
	}
}

func (r requests) add(host, operation string, status int, took time.Duration) {
	host = r.hosts.label(host)
	r.total.WithLabelValues(host, operation, code(status)).Inc()
	r.took.WithLabelValues(host, operation).Observe(took.Seconds())
}

// code is a status as a label: a server cannot make up more than there are.
func code(status int) string {
	switch {
	case status == 0:
		return "error"
	case http.StatusText(status) == "":
		return other
	}
	return strconv.Itoa(status)
}

// hosts are those with metrics of their own.
type hosts struct {
	mu  sync.Mutex
	own map[string]bool
}

// label is the host, or "other" when there are too many.
func (h *hosts) label(host string) string {
	host = label(host)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.own[host] && len(h.own) >= maxHosts {
		return other
	}
	h.own[host] = true
	return host
}

// label is what Prometheus takes for the value of a label.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
