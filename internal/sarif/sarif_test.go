package sarif

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

func sample() Log {
	return Log{Tool: "harborpush", Version: "v1.2.3", Scanner: "Trivy 0.60", Repository: "team/app", Reference: "harbor.test/team/app:1", Findings: []Finding{
		{ID: "CVE-2", Package: "openssl", Version: "3.0", Fixed: "3.1", Severity: "Critical", Score: 9.8, Description: strings.Repeat("é", 800), Link: "https://l.test/CVE-2"},
		{ID: "CVE-2", Package: "libssl", Version: "3.0", Severity: "Critical", Score: 9.8},
		{ID: "CVE-1", Package: "zlib", Severity: "Medium", Link: "javascript:alert(1)"},
		{ID: "CVE-0", Package: "tar", Severity: "Negligible", Ignored: true},
	}}
}

// document is what GitHub's code scanning requires (its SARIF support, docs.github.com).
type document struct {
	Schema  string `json:"$schema"`
	Version string
	Runs    []struct {
		Tool struct {
			Driver struct {
				Name  string
				Rules []struct {
					ID               string
					ShortDescription struct{ Text string }
					FullDescription  struct{ Text string }
					Help             struct{ Text string }
					HelpURI          string
					Properties       struct {
						SecuritySeverity string `json:"security-severity"`
					}
				}
			}
		}
		Results []struct {
			RuleID    string
			RuleIndex int
			Level     string
			Message   struct{ Text string }
			Locations []struct {
				PhysicalLocation struct {
					ArtifactLocation struct{ URI string }
					Region           struct{ StartLine int }
				}
			}
			PartialFingerprints map[string]string
			Suppressions        []struct{ Kind string }
		}
	}
}

func decoded(t *testing.T, l Log) document {
	t.Helper()
	raw, err := l.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if to := os.Getenv("SARIF_OUT"); to != "" { // to judge it with a validator
		if err := os.WriteFile(to, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestJSON(t *testing.T) {
	d := decoded(t, sample())
	run := d.Runs[0]
	if d.Version != "2.1.0" || !strings.Contains(d.Schema, "sarif-2.1.0") || len(d.Runs) != 1 || run.Tool.Driver.Name != "harborpush" {
		t.Fatalf("%+v", d)
	}
	if len(run.Tool.Driver.Rules) != 3 || len(run.Results) != 4 {
		t.Fatalf("%d rules, %d results", len(run.Tool.Driver.Rules), len(run.Results))
	}
	for i, want := range []struct{ id, score, uri string }{{"CVE-2", "9.8", "https://l.test/CVE-2"}, {"CVE-1", "5.5", ""}, {"CVE-0", "0.0", ""}} {
		r := run.Tool.Driver.Rules[i]
		if r.ID != want.id || r.Properties.SecuritySeverity != want.score || r.HelpURI != want.uri {
			t.Errorf("%+v, want %+v", r, want)
		}
		if r.ShortDescription.Text == "" || r.FullDescription.Text == "" || r.Help.Text == "" {
			t.Errorf("%s lacks a text", r.ID)
		}
		if len(r.FullDescription.Text) > 1024 || !utf8.ValidString(r.FullDescription.Text) {
			t.Errorf("%s: %d bytes", r.ID, len(r.FullDescription.Text))
		}
	}
	for i, want := range []struct {
		level string
		rule  int
	}{{"error", 0}, {"error", 0}, {"warning", 1}, {"note", 2}} {
		r := run.Results[i]
		if r.Level != want.level || r.RuleIndex != want.rule || r.Message.Text == "" || len(r.Suppressions) != i/3 {
			t.Errorf("%d: %+v", i, r)
		}
		if p := r.Locations[0].PhysicalLocation; p.ArtifactLocation.URI != "team/app" || p.Region.StartLine != 1 {
			t.Errorf("%d: %+v", i, p)
		}
	}
}

// TestFingerprints are the same after an upgrade that did not help, and differ where the finding does.
func TestFingerprints(t *testing.T) {
	prints := map[string]bool{}
	for _, r := range decoded(t, sample()).Runs[0].Results {
		prints[r.PartialFingerprints["primaryLocationLineHash"]] = true
	}
	if len(prints) != 4 || prints[""] {
		t.Errorf("%v", prints)
	}
	upgraded := sample()
	upgraded.Reference = "harbor.test/team/app:2"
	for i := range upgraded.Findings {
		upgraded.Findings[i].Version = "4.0"
	}
	for _, r := range decoded(t, upgraded).Runs[0].Results {
		if !prints[r.PartialFingerprints["primaryLocationLineHash"]] {
			t.Errorf("%s has another fingerprint", r.RuleID)
		}
	}
}

// TestEmpty is a document too: it closes the alerts that are open.
func TestEmpty(t *testing.T) {
	raw, err := Log{Tool: "harborpush", Repository: "team/app"}.JSON()
	if err != nil || !strings.Contains(string(raw), `"results": []`) || !strings.Contains(string(raw), `"rules": []`) {
		t.Errorf("%s, %v", raw, err)
	}
}
