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

// outlined is a snapshot as text: what was committed, and what is not as the policies want it.
func outlined(s status.Snapshot) string {
	var b strings.Builder
	for _, t := range s.Targets {
		for _, x := range t.Commits {
			fmt.Fprintf(&b, "%s: %.10s %s\n", t.Name, x.SHA, strings.TrimSpace(x.Summary+" "+x.PullRequest))
		}
		for _, i := range t.Images {
			for _, p := range i.Places {
				if why := standing(i, p); why != "" {
					fmt.Fprintf(&b, "%s: %s:%d %s:%s %s\n", t.Name, p.File, p.Line, i.Name, p.Current, why)
				}
			}
		}
	}
	return b.String()
}

// standing says why a place is not as the policy wants it, "" where it is.
func standing(i status.Image, p status.Place) string {
	switch {
	case p.Hold != "":
		return "is held: " + p.Hold
	case i.Err != "":
		return "was left alone: " + i.Err
	case i.Newest != "" && i.Newest != p.Current:
		return "is to become " + i.Newest
	}
	return ""
}
