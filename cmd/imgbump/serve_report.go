package main

import (
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/statuspage"
)

// serveDocument is imgbump/serve/v1, as /status.json has it.
type serveDocument struct {
	Schema string `json:"schema"`
	status.Snapshot
}

func serveStatus(s status.Snapshot) serveDocument { return serveDocument{statuspage.Schema, s} }

// outlined is a snapshot as text: what is not up to date, and what was committed.
func outlined(s status.Snapshot) string {
	var b strings.Builder
	for _, t := range s.Targets {
		for _, x := range t.Commits {
			fmt.Fprintf(&b, "%s: %.10s %s\n", t.Name, x.SHA, x.Summary)
		}
		for _, i := range t.Images {
			for _, p := range i.Places {
				if p.Hold != "" {
					fmt.Fprintf(&b, "%s: %s:%d %s %s is held: %s\n", t.Name, p.File, p.Line, i.Name, p.Current, p.Hold)
				}
			}
		}
	}
	return b.String()
}
