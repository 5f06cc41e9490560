package harbor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// Severity is how grave a vulnerability is, in Harbor's words.
type Severity string

// Severities are all of them, from the gravest on, in Harbor's order.
var Severities = []Severity{"Critical", "High", "Medium", "Low", "Negligible", "Unknown", "None"}

// unknown is the severity of what the scanner has no word for that Harbor knows.
const unknown Severity = "Unknown"

// ParseSeverity reads the severity of a finding, in any case. None is not that of any.
func ParseSeverity(s string) (Severity, error) {
	var names []string
	for _, known := range Severities[:len(Severities)-1] {
		if strings.EqualFold(s, string(known)) {
			return known, nil
		}
		names = append(names, strings.ToLower(string(known)))
	}
	return "", fmt.Errorf("%q is no severity of a finding: %s are", s, strings.Join(names, ", "))
}

// AtLeast reports whether s is as grave as other or graver.
func (s Severity) AtLeast(other Severity) bool { return s.rank() <= other.rank() }

func (s Severity) rank() int { return slices.Index(Severities, s) }

// Report is what a scanner found in an artifact, the gravest first.
type Report struct {
	Scanner         string // with its version
	Generated       time.Time
	Vulnerabilities []Vulnerability
}

// Vulnerability is one finding. Fixed is the version of the package that is free of it, "" when there is none; Score is
// that of CVSS version 3, 0 when the scanner gives none.
type Vulnerability struct {
	ID, Package, Version, Fixed string
	Severity                    Severity
	Description                 string
	Links                       []string
	Score                       float64
}

// overview is how far a scan is.
type overview struct {
	Status string `json:"scan_status"`
}

// formats are the reports that are understood, the better one first. Harbor names them in its answers too.
var formats = []string{"application/vnd.security.vulnerability.report; version=1.1", "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"}

var accepted = http.Header{"X-Accept-Vulnerabilities": {strings.Join(formats, ", ")}}

// How often a running scan is asked for: soon at first, since small images take a second.
const (
	firstAsk = 250 * time.Millisecond
	lastAsk  = 5 * time.Second
)

// Scan has an artifact scanned, waits until that is done, and returns what was found. A scan that is going on already is
// waited for. Told is called with each new state. Context's end is the end of the waiting; the scan goes on.
func (c *Client) Scan(ctx context.Context, repository, reference string, told func(status string)) (Report, error) {
	path, where := artifactPath(repository, reference), name(repository, reference)
	project, _, _ := strings.Cut(repository, "/")
	_, err := c.send(ctx, call{what: "scan", where: where, method: http.MethodPost, path: path + "/scan", expect: http.StatusAccepted})
	if err != nil && !errors.Is(err, ErrConflict) {
		err = hinted(err, errFails, fmt.Sprintf("project %s has no scanner", project),
			"enable one: Harbor's installer does with --with-trivy, its Helm chart with trivy.enabled=true; then choose it under Interrogation Services")
		return Report{}, hinted(err, ErrMissing, "no such image on "+c.host, "push it first; check repository and tag")
	}
	last := ""
	for pause := firstAsk; ; pause = min(pause*3/2, lastAsk) {
		var d document
		_, err := c.send(ctx, call{what: "read the scan of", where: where, method: http.MethodGet, path: path,
			query: map[string][]string{"with_scan_overview": {"true"}}, header: accepted, into: &d, expect: http.StatusOK})
		if err != nil {
			return Report{}, err
		}
		status := best(d.Overview).Status
		if status != last {
			told(status)
			last = status
		}
		switch status {
		case "Success":
			return c.report(ctx, path, where)
		case "Error", "Stopped":
			return Report{}, &fault.Error{What: "scan", Where: where, Err: fmt.Errorf("the scan ended with %s", status),
				Hint: "the scanner's log says more: in Harbor, the artifact's page, Scan"}
		}
		if err := c.wait(ctx, pause); err != nil {
			return Report{}, err
		}
	}
}

func (c *Client) report(ctx context.Context, path, where string) (Report, error) {
	type document struct {
		Generated       time.Time `json:"generated_at"`
		Scanner         struct{ Name, Version string }
		Vulnerabilities []struct {
			ID, Package, Version string
			Fixed                string `json:"fix_version"`
			Severity             Severity
			Description          string
			Links                []string
			CVSS                 struct {
				V3 *float64 `json:"score_v3"`
			} `json:"preferred_cvss"`
		}
	}
	var reports map[string]document
	_, err := c.send(ctx, call{what: "read the report on", where: where, method: http.MethodGet, path: path + "/additions/vulnerabilities",
		header: accepted, into: &reports, expect: http.StatusOK})
	if err != nil {
		return Report{}, err
	}
	d := best(reports)
	report := Report{Scanner: strings.TrimSpace(d.Scanner.Name + " " + d.Scanner.Version), Generated: d.Generated}
	for _, v := range d.Vulnerabilities {
		found := Vulnerability{ID: v.ID, Package: v.Package, Version: v.Version, Fixed: v.Fixed, Severity: v.Severity, Description: v.Description, Links: v.Links}
		if !slices.Contains(Severities, v.Severity) {
			found.Severity = unknown
		}
		if v.CVSS.V3 != nil {
			found.Score = *v.CVSS.V3
		}
		report.Vulnerabilities = append(report.Vulnerabilities, found)
	}
	slices.SortStableFunc(report.Vulnerabilities, func(a, b Vulnerability) int {
		if by := a.Severity.rank() - b.Severity.rank(); by != 0 {
			return by
		}
		return strings.Compare(a.ID+" "+a.Package, b.ID+" "+b.Package)
	})
	return report, nil
}

// best is the value of the best format that is there.
func best[T any](byFormat map[string]T) T {
	for _, format := range formats {
		if value, ok := byFormat[format]; ok {
			return value
		}
	}
	var none T
	return none
}
