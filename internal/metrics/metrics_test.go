package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/ksera524/imgbump/internal/status"
)

var began = time.Unix(1_800_000_000, 500_000_000).UTC()

// scrape is what Prometheus reads, but for comments and the process's own.
func scrape(t *testing.T, m *Metrics) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s\n%s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "imgbump_") && !strings.HasPrefix(line, "imgbump_build_info{goversion") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// holds checks that lines are among all, and that no other begins with what they begin with, up to the first space or brace.
func holds(t *testing.T, all []string, want ...string) {
	t.Helper()
	name := func(line string) string { return line[:strings.IndexAny(line, "{ ")] }
	var got []string
	for _, line := range all {
		if slices.ContainsFunc(want, func(w string) bool { return name(w) == name(line) }) {
			got = append(got, line)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBeginsAtZero(t *testing.T) {
	m := New("1.2.3", status.NewBoard(began, status.Target{Name: "prod"}))
	holds(t, scrape(t, m),
		`imgbump_rounds_total{outcome="ok",target="prod"} 0`, `imgbump_rounds_total{outcome="partial",target="prod"} 0`, `imgbump_rounds_total{outcome="failed",target="prod"} 0`,
		`imgbump_decisions_total{outcome="chosen",target="prod"} 0`, `imgbump_decisions_total{outcome="none",target="prod"} 0`,
		`imgbump_decisions_total{outcome="held",target="prod"} 0`, `imgbump_decisions_total{outcome="failed",target="prod"} 0`,
		`imgbump_round_events_total{target="prod"} 0`, `imgbump_commits_total{target="prod"} 0`,
		`imgbump_round_duration_seconds_count{target="prod"} 0`, `imgbump_push_to_commit_seconds_count{target="prod"} 0`)
}

func TestRound(t *testing.T) {
	m := New("1.2.3", status.NewBoard(began))
	m.Round("prod", status.Round{
		Whole: true, Commits: []status.Commit{{Lag: 3 * time.Second}, {}},
		Images: []status.Image{
			{Newest: "1"}, {Newest: "1", Err: "outdated"}, {}, {Places: []status.Place{{Hold: "x"}, {}}}, {Places: []status.Place{{Hold: "x"}}},
			{Newest: "1", Places: []status.Place{{Hold: "x"}}},
		},
	}, 1500*time.Millisecond, 7)
	m.Round("prod", status.Round{Failures: []status.Failure{{Where: "x"}}}, time.Second, 1)
	m.Round("prod", status.Round{Failures: []status.Failure{{Where: "x"}}, Err: errors.New("down")}, time.Second, 0)
	holds(t, scrape(t, m),
		`imgbump_rounds_total{outcome="ok",target="prod"} 1`, `imgbump_rounds_total{outcome="partial",target="prod"} 1`, `imgbump_rounds_total{outcome="failed",target="prod"} 1`,
		`imgbump_decisions_total{outcome="chosen",target="prod"} 2`, `imgbump_decisions_total{outcome="none",target="prod"} 2`,
		`imgbump_decisions_total{outcome="held",target="prod"} 1`, `imgbump_decisions_total{outcome="failed",target="prod"} 1`,
		`imgbump_round_events_total{target="prod"} 8`, `imgbump_commits_total{target="prod"} 2`,
		`imgbump_round_duration_seconds_count{target="prod"} 3`, `imgbump_round_duration_seconds_sum{target="prod"} 3.5`,
		`imgbump_push_to_commit_seconds_count{target="prod"} 1`, `imgbump_push_to_commit_seconds_sum{target="prod"} 3`)
}

func TestRequests(t *testing.T) {
	m := New("1.2.3", status.NewBoard(began))
	m.RegistryRequest("docker.io", "tags", 200, 250*time.Millisecond)
	m.RegistryRequest("docker.io", "tags", 200, 250*time.Millisecond)
	m.RegistryRequest("docker.io", "tags", 0, time.Second)
	m.RegistryRequest("docker.io", "manifest", 799, time.Second)
	m.GitRequest("github.com:443", "push", 403, time.Second)
	m.Webhook("harbor", "accepted")
	m.Webhook("harbor", "unauthorized")
	holds(t, scrape(t, m),
		`imgbump_registry_requests_total{code="200",host="docker.io",operation="tags"} 2`, `imgbump_registry_requests_total{code="error",host="docker.io",operation="tags"} 1`,
		`imgbump_registry_requests_total{code="other",host="docker.io",operation="manifest"} 1`,
		`imgbump_registry_request_duration_seconds_sum{host="docker.io",operation="tags"} 1.5`,
		`imgbump_registry_request_duration_seconds_sum{host="docker.io",operation="manifest"} 1`,
		`imgbump_git_requests_total{code="403",host="github.com:443",operation="push"} 1`,
		`imgbump_git_request_duration_seconds_count{host="github.com:443",operation="push"} 1`,
		`imgbump_webhooks_total{kind="harbor",outcome="accepted"} 1`, `imgbump_webhooks_total{kind="harbor",outcome="unauthorized"} 1`)
}

// Servers that redirect to ever new hosts, with what is no text in them, cost a bounded number of series.
func TestBounded(t *testing.T) {
	m := New("1.2.3\xff", status.NewBoard(began, status.Target{Name: "a\xff"}))
	m.GitRequest("github.com", "fetch", 200, time.Second)
	m.RegistryRequest("docker.io", "tags", 200, time.Second)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 5000 {
				m.RegistryRequest(fmt.Sprintf("%d.%d.example\xff.com", worker, i), "blob", i%1000, time.Second)
			}
		})
	}
	all.Wait()
	m.RegistryRequest("docker.io", "tags", 200, time.Second)
	m.GitRequest("github.com", "fetch", 200, time.Second)
	m.Webhook("\xff", "\xff")
	m.Round("a\xff", status.Round{}, 0, 0)
	hosts := map[string]bool{}
	lines := scrape(t, m)
	for _, line := range lines {
		if _, rest, ok := strings.Cut(line, `host="`); ok {
			host, _, _ := strings.Cut(rest, `"`)
			hosts[host] = true
		}
	}
	holds(t, lines, `imgbump_git_requests_total{code="200",host="github.com",operation="fetch"} 2`)
	if !slices.Contains(lines, `imgbump_registry_requests_total{code="200",host="docker.io",operation="tags"} 2`) {
		t.Error("one that was there before is lost among others")
	}
	if len(hosts) != maxHosts+2 || !hosts["other"] || len(lines) > 5000 {
		t.Errorf("%d hosts in %d lines", len(hosts), len(lines))
	}
}

// What the board says counts on the leader only, or two replicas would count twice.
func TestBoard(t *testing.T) {
	board := status.NewBoard(began, status.Target{Name: "prod"}, status.Target{Name: "lab"})
	m := New("1.2.3", board)
	place := func(current, hold string) status.Place { return status.Place{Current: current, Hold: hold} }
	board.Record("prod", began, status.Round{Whole: true, Images: []status.Image{
		{Name: "a", Newest: "1", Places: []status.Place{place("1", "")}},
		{Name: "b", Newest: "2", Places: []status.Place{place("2", ""), place("1", "")}},
		{Name: "c", Newest: "2", Places: []status.Place{place("1", "why")}},
		{Name: "d", Places: []status.Place{place("1", "why")}},
		{Name: "e", Newest: "2", Places: []status.Place{place("1", "why"), place("1", "")}},
		{Name: "f", Err: "no answer", Places: []status.Place{place("1", "why")}},
		{Name: "g", Places: []status.Place{place("1", "")}},
		{Name: "h"},
	}, Failures: []status.Failure{{Where: "f"}}})
	board.Record("lab", began, status.Round{Err: errors.New("down")})
	board.Mark("lab", status.Running, time.Time{})
	all := []string{
		`imgbump_leader 1`,
		`imgbump_images{state="current",target="prod"} 1`, `imgbump_images{state="outdated",target="prod"} 2`, `imgbump_images{state="held",target="prod"} 2`,
		`imgbump_images{state="failing",target="prod"} 1`, `imgbump_images{state="none",target="prod"} 2`,
		`imgbump_images{state="current",target="lab"} 0`, `imgbump_images{state="outdated",target="lab"} 0`, `imgbump_images{state="held",target="lab"} 0`,
		`imgbump_images{state="failing",target="lab"} 0`, `imgbump_images{state="none",target="lab"} 0`,
		`imgbump_target_failing{target="prod"} 0`, `imgbump_target_failing{target="lab"} 1`,
		`imgbump_target_failures{target="prod"} 1`, `imgbump_target_failures{target="lab"} 0`,
		`imgbump_target_last_success_timestamp_seconds{target="prod"} 1.8000000005e+09`,
		`imgbump_target_state{state="idle",target="prod"} 1`, `imgbump_target_state{state="queued",target="prod"} 0`, `imgbump_target_state{state="running",target="prod"} 0`,
		`imgbump_target_state{state="idle",target="lab"} 0`, `imgbump_target_state{state="queued",target="lab"} 0`, `imgbump_target_state{state="running",target="lab"} 1`,
	}
	holds(t, scrape(t, m), slices.Clone(all)...)
	board.Lead(false, "other")
	lines := scrape(t, m)
	holds(t, lines, "imgbump_leader 0")
	if slices.ContainsFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "imgbump_images") || strings.HasPrefix(l, "imgbump_target_")
	}) {
		t.Errorf("a standby speaks of targets: %q", lines)
	}
}

func TestOwn(t *testing.T) {
	m := New("1.2.3", status.NewBoard(began))
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{`imgbump_build_info{goversion="go1.`, `",version="1.2.3"} 1`, "go_goroutines ", "process_resident_memory_bytes ", "process_start_time_seconds "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}

// used is a registry in which every metric has a value, with every value of the labels that have few.
func used() *Metrics {
	board := status.NewBoard(began, status.Target{Name: "x"})
	board.Record("x", began, status.Round{Whole: true})
	m := New("x", board)
	m.Webhook("x", "x")
	m.RegistryRequest("x", "x", 200, 0)
	m.GitRequest("x", "x", 200, 0)
	return m
}

// docs/metrics.md says what there is: each metric with its type, labels, and what it is.
func TestDocument(t *testing.T) {
	raw, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "| `imgbump_") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	families, err := used().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "imgbump_") {
			continue
		}
		there = append(there, row(f))
		for _, values := range fewValues(f) {
			if !strings.Contains(string(raw), "`"+values+"`") {
				t.Errorf("%s: `%s` is not explained", f.GetName(), values)
			}
		}
	}
	slices.Sort(documented)
	slices.Sort(there)
	if diff := cmp.Diff(documented, there); diff != "" {
		t.Errorf("docs/metrics.md (-) and the program (+) disagree:\n%s", diff)
	}
}

// row is a metric's line in the table.
func row(f *dto.MetricFamily) string {
	var labels []string
	for _, l := range f.GetMetric()[0].GetLabel() {
		labels = append(labels, "`"+l.GetName()+"`")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
}

// fewValues are those of the labels state and outcome.
func fewValues(f *dto.MetricFamily) []string {
	var all []string
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if (l.GetName() == "state" || l.GetName() == "outcome") && l.GetValue() != "x" {
				all = append(all, l.GetValue())
			}
		}
	}
	return all
}
