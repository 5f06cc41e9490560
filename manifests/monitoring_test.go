package manifests_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/metrics"
	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/webhook"
	"go.yaml.in/yaml/v3"
)

const (
	alertsFile    = "platform/ci-cd/imgbump/alerts.yaml"
	dashboardFile = "platform/ci-cd/imgbump/dashboard.json"
	runbook       = "../docs/serve-deploy.md"
)

// elapsed is for how long Prometheus has heard of what a test tells it, longer than any alert waits; step is how often.
const (
	elapsed = 26 * time.Hour
	step    = 5 * time.Minute
)

// TestAlerts has Prometheus' own judge say which alerts fire for what imgbump's own metrics say, in the best case, and in each bad one.
func TestAlerts(t *testing.T) {
	rules := rulesFile(t)
	run(t, "promtool", "check", "rules", rules)
	var tests []any
	for name, c := range map[string]struct {
		told   []series
		alerts map[string]int
	}{
		"one leads, the other stands by, all is well": {slices.Concat(replica(t, "a", true, well), replica(t, "b", false, well)), nil},
		"nothing runs":         {nil, map[string]int{"ImgbumpDown": 1}},
		"all stand by":         {slices.Concat(replica(t, "a", false, well), replica(t, "b", false, well)), map[string]int{"ImgbumpNoLeader": 1}},
		"both lead":            {slices.Concat(replica(t, "a", true, well), replica(t, "b", true, well)), map[string]int{"ImgbumpSeveralLeaders": 1}},
		"nothing goes well":    {slices.Concat(replica(t, "a", true, badly), replica(t, "b", false, well)), sick},
		"one target of two":    {replica(t, "a", true, well, badly), sick},
		"a standby is no news": {slices.Concat(replica(t, "a", true, well), replica(t, "b", false, quiet)), nil},
	} {
		firing := []any{}
		for alert, times := range c.alerts {
			firing = append(firing, map[string]any{"labels": fmt.Sprintf("{alertname=%q}", alert), "value": times})
		}
		tests = append(tests, unit(name, c.told, map[string]any{
			"expr": `count by (alertname) (ALERTS{alertstate="firing"})`, "eval_time": elapsed.String(), "exp_samples": firing,
		}))
	}
	judge(t, rules, tests)
}

// TestRunbook shows that each alert says what it is and leads to what helps.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects(t, alertsFile) {
		for _, group := range list(o.Fields, "spec", "groups") {
			for _, rule := range list(group, "rules") {
				name, _ := rule["alert"].(string)
				if link := "https://github.com/ksera524/imgbump/blob/main/docs/serve-deploy.md#" + strings.ToLower(name); at(rule, "annotations", "runbook_url") != link {
					t.Errorf("%s: its runbook is not %s", name, link)
				}
				if !strings.Contains(string(text), "\n### "+name+"\n") {
					t.Errorf("%s: %s has no such heading", name, runbook)
				}
				severity, _ := at(rule, "labels", "severity").(string)
				if !slices.Contains([]string{"critical", "warning", "info"}, severity) || at(rule, "annotations", "summary") == nil || at(rule, "annotations", "description") == nil || rule["for"] == nil {
					t.Errorf("%s: wanted for, a severity, a summary and a description", name)
				}
			}
		}
	}
}

// TestDashboard has each query of the dashboard find something in imgbump's own metrics, of which one target does well and one does not.
func TestDashboard(t *testing.T) {
	d := dashboard(t)
	told := slices.Concat(replica(t, "a", true, well, badly), replica(t, "b", false, well))
	variables := strings.NewReplacer("$target", ".*", "$__rate_interval", "15m", "$__interval", "15m")
	var queries []any
	query := func(expr string) {
		something := []any{map[string]any{"labels": "{}", "value": 1}}
		queries = append(queries, map[string]any{"expr": "group(" + variables.Replace(expr) + ")", "eval_time": elapsed.String(), "exp_samples": something})
	}
	for _, a := range d.Annotations.List {
		query(a.Target.Expr)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			query(target.Expr)
		}
	}
	judge(t, rulesFile(t), []any{unit("dashboard", told, queries...)})
}

// TestPanels looks at the dashboard as a person does: nothing lies on something else, and all says what it is.
func TestPanels(t *testing.T) {
	d, taken, ids := dashboard(t), map[[2]int]string{}, map[int]bool{}
	if d.UID != "imgbump" || d.Title != "imgbump" {
		t.Errorf("the dashboard is %q, %q", d.UID, d.Title)
	}
	for _, p := range d.Panels {
		if p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %d %q: wanted a title, a description, queries, and the data source that is chosen above", p.ID, p.Title)
		}
		if ids[p.ID] {
			t.Errorf("panel %q has the ID of another", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("%q lies on %q at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

type grafana struct {
	UID, Title  string
	Annotations struct {
		List []struct{ Target struct{ Expr string } }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr string }
	}
}

func dashboard(t *testing.T) grafana {
	t.Helper()
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d grafana
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	return d
}

// rulesFile is the alerts as Prometheus reads them: without the resource around.
func rulesFile(t *testing.T) string {
	t.Helper()
	all := objects(t, alertsFile)
	if len(all) != 1 || all[0].text("kind") != "PrometheusRule" {
		t.Fatalf("%s: wanted one PrometheusRule", alertsFile)
	}
	return save(t, "rules.yaml", all[0].Fields["spec"])
}

// unit is a test of promtool's.
func unit(name string, told []series, queries ...any) any {
	input := []any{}
	for _, s := range told {
		input = append(input, map[string]any{"series": s.name, "values": s.values()})
	}
	return map[string]any{"name": name, "interval": step.String(), "input_series": input, "promql_expr_test": queries}
}

func judge(t *testing.T, rules string, tests []any) {
	t.Helper()
	run(t, "promtool", "test", "rules", save(t, "tests.yaml", map[string]any{"rule_files": []string{rules}, "evaluation_interval": step.String(), "tests": tests}))
}

func save(t *testing.T, name string, document any) string {
	t.Helper()
	text, err := yaml.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// course is what becomes of a target.
type course struct {
	name string
	run  func(*metrics.Metrics, *status.Board)
}

var (
	quiet = course{"quiet", func(*metrics.Metrics, *status.Board) {}}
	well  = course{"well", func(m *metrics.Metrics, b *status.Board) {
		round := status.Round{
			Whole:   true,
			Images:  []status.Image{image("1.1", "", ""), image("1.0", "we wait for a fix", "")},
			Commits: []status.Commit{{SHA: "8d1e", Lag: 3 * time.Second}},
		}
		b.Record("well", time.Unix(0, 0).Add(elapsed-step), round)
		m.Round("well", round, time.Second, 2)
		m.Webhook(string(webhook.Harbor), webhook.Accepted)
		for _, code := range []int{401, 401, 401, 200, 200, 200, 200, 200, 200, 503} { // most ask for a login, one has a bad moment
			m.RegistryRequest("harbor.internal.example.com", "tags", code, time.Millisecond)
		}
		m.GitRequest("github.com", "refs", 200, time.Millisecond)
		m.GitRequest("github.com", "api", 404, time.Millisecond) // is there such a branch? no
	}}
	badly = course{"badly", func(m *metrics.Metrics, b *status.Board) {
		whole := status.Round{Whole: true, Images: []status.Image{image("1.0", "", ""), image("1.1", "", "down")}}
		b.Record("badly", time.Unix(60, 0), whole)
		m.Round("badly", whole, time.Second, 0)
		for _, round := range []status.Round{
			{Failures: []status.Failure{{Where: "team/app", Err: "down"}}, Commits: []status.Commit{{SHA: "8d1e", Lag: 10 * time.Minute}}},
			{Err: errors.New("unreachable")},
		} {
			b.Record("badly", time.Unix(120, 0), round)
			m.Round("badly", round, time.Minute, 1)
		}
		b.Mark("badly", status.Queued, time.Time{})
		for range 2 {
			m.Webhook(string(webhook.GHCR), webhook.Unauthorized)
		}
		for _, code := range []int{0, 200, 429, 503} {
			m.RegistryRequest("ghcr.io", "tags", code, time.Millisecond)
		}
		m.GitRequest("denied.example.com", "api", 403, time.Millisecond)
		m.GitRequest("hidden.example.com", "refs", 404, time.Millisecond)
	}}
)

// sick are the alerts that fire when a target goes badly, and how many of each.
var sick = map[string]int{
	"ImgbumpGitFailing": 2, "ImgbumpImagesFailing": 1, "ImgbumpImagesOutdated": 1, "ImgbumpRegistryFailing": 1,
	"ImgbumpSlow": 1, "ImgbumpTargetFailing": 1, "ImgbumpTargetStale": 1, "ImgbumpWebhooksRefused": 1,
}

// image is one whose newest version is 1.1.
func image(current, hold, failure string) status.Image {
	return status.Image{
		Name: "harbor.internal.example.com/team/app" + current, Newest: "1.1", Err: failure,
		Places: []status.Place{{File: "app.yaml", Line: 1, Current: current, Hold: hold}},
	}
}

// series is one of Prometheus', with its value at the beginning. What counts grows by that in each step.
type series struct {
	name   string
	value  float64
	counts bool
}

func (s series) values() string {
	value := strconv.FormatFloat(s.value, 'f', -1, 64)
	if s.counts {
		return fmt.Sprintf("%s+%sx%d", value, value, int(elapsed/step))
	}
	return fmt.Sprintf("%sx%d", value, int(elapsed/step))
}

// replica is what a replica whose targets go those ways tells Prometheus, with the labels that Prometheus adds.
func replica(t *testing.T, pod string, leads bool, courses ...course) []series {
	t.Helper()
	var targets []status.Target
	for _, c := range courses {
		targets = append(targets, status.Target{Name: c.name})
	}
	board := status.NewBoard(time.Unix(0, 0), targets...)
	m := metrics.New("1.0.0", board)
	if leads {
		for _, c := range courses {
			c.run(m, board)
		}
	}
	board.Lead(leads, "another")
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	var told []series
	counts, sample := false, regexp.MustCompile(`^((?:imgbump|process)_\w+)(?:\{(.*)\})? (\S+)$`)
	for line := range strings.Lines(answer.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# TYPE ") {
			counts = strings.HasSuffix(line, " counter") || strings.HasSuffix(line, " histogram")
		}
		if found := sample.FindStringSubmatch(line); found != nil {
			value, err := strconv.ParseFloat(found[3], 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			labels := strings.TrimSuffix(fmt.Sprintf("namespace=%q,pod=%q,%s", "imgbump", pod, found[2]), ",")
			told = append(told, series{found[1] + "{" + labels + "}", value, counts})
		}
	}
	if len(told) == 0 {
		t.Fatalf("no metrics:\n%s", answer.Body)
	}
	return told
}
