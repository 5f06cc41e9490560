package argocd

import (
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/ignore"
)

// matches reports whether a glob of directory.include or exclude means the path: "*" goes over slashes, and {a,b} is either.
// A glob that is none means nothing.
func matches(glob, p string) bool {
	return slices.ContainsFunc(alternatives(glob), func(one string) bool { return ignore.MatchText(one, p) })
}

// maxAlternatives is how many globs one with braces may stand for.
const maxAlternatives = 64

// alternatives are the globs without braces that a glob stands for, none when there are too many.
func alternatives(glob string) (all []string) {
	pending := []string{glob}
	for len(pending) > 0 {
		if len(pending)+len(all) > maxAlternatives {
			return nil
		}
		last := len(pending) - 1
		next := pending[last]
		pending = pending[:last]
		end := strings.IndexByte(next, '}')
		start := strings.LastIndexByte(next[:max(end, 0)], '{')
		if start < 0 {
			all = append(all, next)
			continue
		}
		for choice := range strings.SplitSeq(next[start+1:end], ",") {
			pending = append(pending, next[:start]+choice+next[end+1:])
		}
	}
	return all
}

// matchesPath reports whether a glob of valueFiles means the path: "*" stays within a folder, and "**" is any folders.
func matchesPath(glob, p string) bool {
	patterns, parts := strings.Split(glob, "/"), strings.Split(p, "/")
	var again, rest []string // the patterns after the last "**", and where those were tried
	starred := false
	for len(parts) > 0 {
		if len(patterns) > 0 && patterns[0] == "**" {
			patterns = patterns[1:]
			again, rest, starred = patterns, parts, true
			continue
		}
		if len(patterns) > 0 {
			if ok, err := path.Match(patterns[0], parts[0]); err == nil && ok {
				patterns, parts = patterns[1:], parts[1:]
				continue
			}
		}
		if !starred {
			return false
		}
		rest = rest[1:]
		patterns, parts = again, rest
	}
	return len(patterns) == 0
}
