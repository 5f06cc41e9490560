package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/policy"
)

// peerCase is a repository and a policy of another tool's tests, and the tag that it chooses.
type peerCase struct {
	Name, Tool, Strategy, Constraint, Allow, Order string
	Ignore, Tags                                   []string
	Pattern                                        string           `json:"filter_pattern"`
	Extract                                        string           `json:"filter_extract"`
	Created                                        map[string]int64 `json:"tag_created_unix"`
	Want                                           *string
	WantError                                      bool     `json:"want_error"`
	WantFiltered                                   []string `json:"want_filtered_sorted"`
	WantFlux                                       *string  `json:"want_flux"`
	WantFluxError                                  bool     `json:"want_flux_error"`
}

func (c peerCase) rules() policy.Rules {
	r := policy.Rules{Strategy: policy.Strategy(c.Strategy), Constraint: c.Constraint, AllowTags: c.Allow, IgnoreTags: c.Ignore, Descending: c.Order == "desc"}
	if c.Tool == "flux" && (c.Strategy == "semver" || c.Strategy == "semver-range-parse") {
		r.Strategy = policy.FluxSemver
	}
	if c.Pattern != "" {
		r.AllowTags, r.Extract = "regexp:"+c.Pattern, c.Extract
	}
	return r
}

// run is the tag that the case's policy chooses, "" for none.
func (c peerCase) run() (string, error) {
	p, err := policy.New(c.rules())
	if err != nil {
		return "", err
	}
	var tags []policy.Tag
	for _, name := range c.Tags {
		t := policy.Tag{Name: name}
		if at, ok := c.Created[name]; ok {
			t.Builds = []image.Build{{Created: time.Unix(at, 0)}}
		}
		tags = append(tags, t)
	}
	return p.Rank(tags).Decide(time.Unix(1<<31, 0)).Tag, nil
}

// differs says what we do otherwise, "" for nothing.
func (c peerCase) differs() string {
	if c.Strategy == "filter" {
		got, err := c.filtered()
		if err == nil && slices.Equal(got, c.WantFiltered) {
			return ""
		}
		return fmt.Sprintf("got %q, %v; want %q", got, err, c.WantFiltered)
	}
	got, err := c.run()
	want := ""
	if c.Want != nil {
		want = *c.Want
	}
	ok := got == want && (err == nil || c.WantError)
	if c.Strategy == "semver-range-parse" {
		ok = (err != nil) == c.WantError
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("got %q, %v; want %q, error %v", got, err, want, c.WantError)
}

// otherwise are the cases in which we do something else on purpose, by what they are called, with the reason.
var otherwise = map[string]string{
	"With invalid numerical value":                                              "one bad tag never fails the rest: it is left out, and Why counts it",
	"invalid constraint but no semver tags: AIU returns none before parsing it": "a constraint that makes no sense is told, whatever tags there are",
	"ignore bad pattern is inert":                                               "a pattern that makes no sense is told, and does not just ignore nothing",
	"allow without function matches nothing":                                    "a pattern that makes no sense is told, and does not just match nothing",
	"allow bad regexp matches nothing":                                          "a pattern that makes no sense is told, and does not just match nothing",
}

// TestPeerCases runs what other tools expect of the same policies, where IMGBUMP_CASES names the folder of their cases. Where
// they end with an error for want of a fitting tag, we choose none.
func TestPeerCases(t *testing.T) {
	folder := os.Getenv("IMGBUMP_CASES")
	if folder == "" {
		t.Skip("not run: IMGBUMP_CASES does not name the folder of the cases")
	}
	met := map[string]bool{}
	for _, file := range []string{"tag_selection.json", "tag_selection_derived.json"} {
		data, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		var all struct{ Cases []peerCase }
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		agree, differ := 0, 0
		for _, c := range all.Cases {
			for _, c := range c.variants() {
				said := c.differs()
				if said == "" {
					agree++
					continue
				}
				differ++
				if met[c.Name] = true; otherwise[c.Name] == "" {
					t.Errorf("%s: %s (%s): %s", file, c.Name, c.Tool, said)
				}
			}
		}
		t.Logf("%s: %d agree, %d do not", file, agree, differ)
	}
	for name := range otherwise {
		if !met[name] {
			t.Errorf("%s: we agree now", name)
		}
	}
}

// variants are the questions that a case is: what each of the tools chooses.
func (c peerCase) variants() []peerCase {
	if c.Tool != "" || c.Strategy != "semver" || c.Allow != "" || c.Ignore != nil {
		return []peerCase{c}
	}
	flux := c
	flux.Tool, flux.Want, flux.WantError = "flux", c.WantFlux, c.WantFluxError
	return []peerCase{c, flux}
}

// filtered is what a filter lets through, sorted.
func (c peerCase) filtered() ([]string, error) {
	r := c.rules()
	r.Strategy = policy.Alphabetical
	p, err := policy.New(r)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, tag := range c.Tags {
		if value, ok := p.Value(tag); ok {
			all = append(all, value)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil // what is extracted twice is one choice
}
