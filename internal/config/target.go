package config

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// Target is where commits go: a branch of a repository, "" being those that the command names, and the files and folders
// below its top that may change, all when there are none. PR asks for a pull request instead of a push.
type Target struct {
	Name   string
	Repo   string
	Branch string
	Paths  []string
	PR     bool
	Line   int
}

// All are the targets of the file. That there are none is an error of kind Usage.
func (c Config) All() ([]Target, error) {
	if len(c.Targets) == 0 {
		return nil, noTargets("prod")
	}
	return c.Targets, nil
}

func noTargets(name string) error {
	return fault.Usagef("for example: targets: [{name: "+name+", branch: main}]", "%s has no targets", Name)
}

// Choose finds the targets of the given names, in the order of the file. A name that is none of them is an error of kind
// Usage.
func (c Config) Choose(names []string) ([]Target, error) {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var chosen []Target
	var known []string
	for _, t := range c.Targets {
		known = append(known, t.Name)
		if wanted[t.Name] {
			chosen = append(chosen, t)
			delete(wanted, t.Name)
		}
	}
	for _, name := range names {
		if !wanted[name] {
			continue
		}
		if len(known) == 0 {
			return nil, noTargets(name)
		}
		return nil, fault.Usagef("its targets are "+strings.Join(known, ", "), "%s has no target %s", Name, name)
	}
	return chosen, nil
}

func (t target) target() Target {
	into := Target{Name: t.Name.value, Repo: t.Repo.value, Branch: t.Branch.value, PR: t.PR.value, Line: t.Line}
	for _, p := range t.Paths {
		into.Paths = append(into.Paths, path.Clean(p.value))
	}
	return into
}

func (t target) check(r *reader, at string, names map[string]int) {
	r.required(t.Line, at+".name", t.Name)
	if first, again := names[t.Name.value]; again && t.Name.value != "" {
		r.problem(t.Name.line, "give each target a name of its own", "%s.name: line %d has it, too", at, first)
	}
	names[t.Name.value] = t.Name.line
	for i, p := range t.Paths {
		const example = "name a file or folder below the top, for example: apps/production"
		switch {
		case p.value == "": // already a problem of its type
		case !fs.ValidPath(path.Clean(p.value)):
			r.problem(p.line, example, "%s.paths[%d]: %s leads elsewhere", at, i, p.value)
		case strings.ContainsAny(p.value, "*?[") || strings.HasPrefix(p.value, "!"):
			r.problem(p.line, example, "%s.paths[%d]: %s is a pattern, and here are only files and folders", at, i, p.value)
		}
	}
	if t.Repo.value != "" && !onServer(t.Repo.value) {
		r.problem(t.Repo.line, "for example: https://github.com/team/gitops", "%s.repo: %s is not the address of a repository on a server", at, t.Repo.value)
	}
	if u, err := url.Parse(t.Repo.value); err == nil && u.User != nil {
		if _, secret := u.User.Password(); secret {
			r.problem(t.Repo.line, "leave it out: credentials come from flags and the environment", "%s.repo holds a password", at)
		}
	}
}

// scp is an SSH address as [USER@]HOST:PATH (git-fetch, "GIT URLS"); TRANSPORT::ADDRESS is none.
var scp = regexp.MustCompile(`^([^/:\[]+|[^/:\[]*\[[0-9a-fA-F:.]+\]):[^:]`)

// onServer reports whether an address leads to another machine. A folder of this one is not for a file in a repository to
// name: its hooks would run.
func onServer(address string) bool {
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		return slices.Contains([]string{"https", "http", "ssh", "git+ssh", "ssh+git"}, strings.ToLower(scheme)) && rest != "" && rest[0] != '/'
	}
	return scp.MatchString(address)
}

// checkTargets checks each target, and that their names differ.
func checkTargets(r *reader, targets []target) {
	names := map[string]int{}
	for i, t := range targets {
		t.check(r, fmt.Sprintf("targets[%d]", i), names)
	}
}
