// Package sarif writes findings about an image as SARIF 2.1.0, with what GitHub's code scanning requires of it.
//
// GitHub shows a result at a file and line, and an image has none: its repository stands for the file. Two runs mean the
// same finding when identifier, package and repository are the same, so that an alert stays closed when a package is
// upgraded to a version that has it still.
package sarif

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Log is the findings about one image. Repository and Reference say which: "team/app", "harbor.test/team/app:1".
type Log struct {
	Tool, Version string // that looked: harborpush; the scanner is part of the message
	Scanner       string
	Repository    string
	Reference     string
	Findings      []Finding
}

// Finding is a vulnerability of a package. Severity is Critical, High, Medium, Low or less; Score is CVSS's, 0 when not
// known.
type Finding struct {
	ID, Package, Version, Fixed string
	Severity                    string
	Score                       float64
	Description                 string
	Link                        string
	Ignored                     bool // somebody decided that it does not count
}

// level is SARIF's word for a severity, and score what code scanning sorts by (critical from 9, high from 7, medium from 4).
func (f Finding) level() (level, score string) {
	grades := map[string]struct {
		level string
		score float64
	}{"Critical": {"error", 9.5}, "High": {"error", 8}, "Medium": {"warning", 5.5}, "Low": {"note", 2}}
	grade, ok := grades[f.Severity]
	if !ok {
		grade.level, grade.score = "note", 0
	}
	return grade.level, fmt.Sprintf("%.1f", cmp.Or(f.Score, grade.score))
}

type text struct {
	Text string `json:"text"`
}

type rule struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Short      text           `json:"shortDescription"`
	Full       text           `json:"fullDescription"`
	HelpURI    string         `json:"helpUri,omitempty"`
	Help       text           `json:"help"`
	Default    map[string]any `json:"defaultConfiguration"`
	Properties map[string]any `json:"properties"`
}

type result struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Level        string            `json:"level"`
	Message      text              `json:"message"`
	Locations    []any             `json:"locations"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Suppressions []any             `json:"suppressions,omitempty"`
}

// maxText keeps descriptions to what code scanning takes, in bytes.
const maxText = 1000

// JSON is the document.
func (l Log) JSON() ([]byte, error) {
	rules, results := []rule{}, []result{}
	for _, f := range l.Findings {
		at := slices.IndexFunc(rules, func(r rule) bool { return r.ID == f.ID })
		if at < 0 {
			at = len(rules)
			rules = append(rules, f.rule())
		}
		results = append(results, l.result(f, at))
	}
	driver := map[string]any{"name": l.Tool, "version": l.Version, "informationUri": "https://github.com/ksera524/imgbump", "rules": rules}
	return json.MarshalIndent(map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{map[string]any{
			"tool": map[string]any{"driver": driver}, "results": results, "columnKind": "utf16CodeUnits",
			"automationDetails": map[string]string{"id": l.Tool + "/" + l.Repository + "/"},
			"properties":        map[string]string{"image": l.Reference, "scanner": l.Scanner},
		}},
	}, "", "  ")
}

func (f Finding) rule() rule {
	level, score := f.level()
	about := cut(cmp.Or(f.Description, f.ID))
	help := fmt.Sprintf("%s\n\nPackage: %s\nFixed in: %s", about, f.Package, cmp.Or(f.Fixed, "no version yet"))
	r := rule{
		ID: f.ID, Name: f.ID, Short: text{Text: f.ID + " in " + f.Package}, Full: text{Text: about}, Help: text{Text: help},
		Default:    map[string]any{"level": level},
		Properties: map[string]any{"security-severity": score, "precision": "very-high", "tags": []string{"security", "vulnerability", strings.ToLower(f.Severity)}},
	}
	if strings.HasPrefix(f.Link, "https://") {
		r.HelpURI = f.Link
	}
	return r
}

func (l Log) result(f Finding, rule int) result {
	level, _ := f.level()
	message := fmt.Sprintf("%s: %s has %s (%s)", l.Reference, strings.TrimSpace(f.Package+" "+f.Version), f.ID, strings.ToLower(f.Severity))
	if f.Fixed != "" {
		message += ", fixed in " + f.Fixed
	}
	r := result{
		RuleID: f.ID, RuleIndex: rule, Level: level, Message: text{Text: message + "; found by " + cmp.Or(l.Scanner, l.Tool)},
		Locations: []any{map[string]any{
			"physicalLocation": map[string]any{
				"artifactLocation": map[string]string{"uri": l.Repository},
				"region":           map[string]int{"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
			},
			"message": text{Text: l.Reference + ": " + f.Package},
		}},
		Fingerprints: map[string]string{"primaryLocationLineHash": l.fingerprint(f)},
	}
	if f.Ignored {
		r.Suppressions = []any{map[string]string{"kind": "external", "status": "accepted", "justification": "--ignore " + f.ID}}
	}
	return r
}

// fingerprint is the same for the same finding in every run. Code scanning reads it as HASH:OCCURRENCE.
func (l Log) fingerprint(f Finding) string {
	sum := sha256.Sum256([]byte(f.ID + "\n" + f.Package + "\n" + l.Repository))
	return fmt.Sprintf("%x:1", sum[:8])
}

// cut keeps the beginning of a text, as valid UTF-8.
func cut(s string) string {
	if len(s) <= maxText {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}
