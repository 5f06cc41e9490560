// Package config reads imgbump.yaml, the file in which a repository says what imgbump may do to it.
//
// It is strict: a key that is not known would be a rule that nobody follows. Everything works without the file.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/ignore"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Name is the file's name, at the root of the manifests.
const Name = "imgbump.yaml"

// Config is what the file says. The zero value is that of a tree without one.
type Config struct {
	Rules      manifest.Rules // further fields and excluded kinds
	Targets    []Target
	Images     []Found // the images that have a policy, in the order of the file
	Registries []Registry
	exclude    ignore.Rules
	holds      []hold
}

// hold keeps the sites of one repository as they are.
type hold struct {
	image  imageref.Ref
	paths  ignore.Rules // nil is everywhere
	reason string
	line   int
}

// Excludes reports whether exclude.paths names the file or folder at p, or a folder above it.
func (c Config) Excludes(p string) bool { return c.exclude.Covers(p) }

// Held says why the site's image must not be changed there, "" when it may: "REASON (imgbump.yaml:LINE)".
func (c Config) Held(site manifest.Site) string {
	for _, h := range c.holds {
		if (h.image.Same(site.Ref) || h.image.Same(site.Replaces)) && (h.paths == nil || h.paths.Covers(site.File)) {
			return fmt.Sprintf("%s (%s)", h.reason, Where(h.line))
		}
	}
	return ""
}

// Problem is one thing that is wrong with the file. Line is 0 where the YAML reader names none.
type Problem struct {
	Line int
	Text string
	Hint string
}

// Where is the place of a line of the file, as messages name it.
func Where(line int) string {
	if line == 0 {
		return Name
	}
	return fmt.Sprintf("%s:%d", Name, line)
}

// Err is the error of kind Usage that the problems come to, nil when there are none.
func Err(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	first := problems[0]
	hint := first.Hint
	if more := len(problems) - 1; more > 0 {
		hint = strings.TrimPrefix(fmt.Sprintf("%s; 'imgbump config check' shows all %d problems", hint, more+1), "; ")
	}
	return &fault.Error{Kind: fault.Usage, Where: Where(first.Line), Hint: hint, Err: errors.New(first.Text)}
}

// Parse reads the file. Problems are all that is wrong with it, in the order of its lines; the Config is of use only when
// there are none. Unused is what has no effect.
func Parse(data []byte) (c Config, problems, unused []Problem) {
	var r reader
	var doc document
	r.read(data, &doc)
	doc.check(&r)
	byLine := func(a, b Problem) int { return a.Line - b.Line }
	slices.SortStableFunc(r.problems, byLine)
	slices.SortStableFunc(r.unused, byLine)
	if len(r.problems) > 0 {
		return Config{}, r.problems, r.unused
	}
	return doc.config(), nil, r.unused
}

// config is the document's meaning, once it has been checked.
func (d document) config() Config {
	c := Config{exclude: patterns(d.Exclude.Paths)}
	for _, kind := range d.Exclude.Kinds {
		c.Rules.ExcludeKinds = append(c.Rules.ExcludeKinds, kind.value)
	}
	for _, f := range d.Fields {
		c.Rules.Fields = append(c.Rules.Fields, f.rule())
	}
	for _, t := range d.Targets {
		c.Targets = append(c.Targets, t.target())
	}
	for _, e := range d.Registries {
		c.Registries = append(c.Registries, e.registry())
	}
	for _, i := range d.Images {
		ref, err := imageref.Parse(i.Name.value)
		if err == nil && i.Hold.value != "" {
			c.holds = append(c.holds, hold{image: ref, paths: patterns(i.Paths), reason: i.Hold.value, line: i.Hold.line})
		}
		if err == nil && i.Policy.Line > 0 {
			c.Images = append(c.Images, i.found(ref))
		}
	}
	return c
}

// patterns are in the language of .gitignore.
func patterns(patterns []text) ignore.Rules {
	var lines []string
	for _, p := range patterns {
		lines = append(lines, p.value)
	}
	return ignore.Parse([]byte(strings.Join(lines, "\n")))
}

// check finds what a look at the types of the values does not.
func (d document) check(r *reader) {
	switch {
	case d.Line > 0 && d.Version.line == 0:
		r.problem(d.Line, "write version: 1 at its start", "version is missing")
	case d.Version.line > 0 && d.Version.value != 1:
		r.problem(d.Version.line, "write version: 1, or use a newer imgbump", "version is %d, but this imgbump knows version 1", d.Version.value)
	}
	for i, image := range d.Images {
		at := fmt.Sprintf("images[%d]", i)
		r.required(image.Line, at+".name", image.Name)
		r.repository(at+".name", image.Name)
		r.patterns(at+".paths", image.Paths)
		image.Policy.check(r, at+".policy")
	}
	for i, f := range d.Fields {
		f.check(r, fmt.Sprintf("fields[%d]", i))
	}
	r.patterns("exclude.paths", d.Exclude.Paths)
	checkTargets(r, d.Targets)
	hosts := map[string]int{}
	for i, e := range d.Registries {
		e.check(r, fmt.Sprintf("registries[%d]", i), hosts)
	}
}

func (f field) check(r *reader, at string) {
	r.required(f.Line, at+".field", f.Field)
	if err := f.rule().Validate(); err != nil && f.Field.value != "" {
		r.problem(f.Line, "for example: {file: '*/values.yaml', field: image.tag, image: team/app}", "%s: %v", at, err)
	}
}

func (f field) rule() manifest.FieldRule {
	return manifest.FieldRule{Kind: f.Kind.value, File: f.File.value, Path: f.Field.value, Image: f.Image.value}
}

// required refuses a mapping in that line without the text; line is 0 when it is no mapping, which is a problem already.
func (r *reader) required(line int, at string, t text) {
	if t.line == 0 && line > 0 {
		r.problem(line, "", "%s is missing", at)
	}
}

// repository refuses what is no repository, or more than one.
func (r *reader) repository(at string, t text) {
	if t.value == "" {
		return
	}
	if ref, err := imageref.Parse(t.value); err != nil {
		r.problem(t.line, "for example: harbor.example.com/team/app", "%s: %v", at, err)
	} else if ref.Versioned() {
		r.problem(t.line, "write "+ref.Name(), "%s is a repository, without tag or digest", at)
	}
}

func (r *reader) patterns(at string, patterns []text) {
	for i, p := range patterns {
		if p.value == "" {
			continue // already a problem of its type
		}
		if err := ignore.Check(p.value); err != nil {
			r.problem(p.line, "patterns are those of .gitignore, for example: apps/legacy", "%s[%d] %v", at, i, err)
		}
	}
}
