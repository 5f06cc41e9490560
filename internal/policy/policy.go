// Package policy chooses one of a repository's tags by a rule, and says why in words for people.
//
// It does no I/O: tags and dates come in as values, a Decision goes out. The semantic versions are those of Argo CD Image
// Updater and of Flux (github.com/Masterminds/semver), so that a policy that was theirs goes on choosing the same tags.
package policy

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/timespan"
)

// Strategy is how the tags of a repository are compared.
type Strategy string

// The strategies.
const (
	Semver       Strategy = "semver"       // the highest version, as Argo CD Image Updater reads versions
	FluxSemver   Strategy = "flux-semver"  // the highest version of three numbers, as Flux reads versions
	Suffix       Strategy = "suffix"       // the highest version of the same kind: 1.27-alpine goes to 1.28-alpine
	Calver       Strategy = "calver"       // the latest date
	NewestBuild  Strategy = "newest-build" // the image that was made last
	Digest       Strategy = "digest"       // one tag, and what it names now
	Alphabetical Strategy = "alphabetical" // the last name, byte by byte
	Numerical    Strategy = "numerical"    // the largest number
)

// Strategies are all there are.
var Strategies = []Strategy{Semver, FluxSemver, Suffix, Calver, NewestBuild, Digest, Alphabetical, Numerical}

// Rules are a policy as people write it. The zero value of a field is no rule.
type Rules struct {
	Strategy Strategy
	// Constraint is a range of versions (semver, flux-semver), a tag (digest), the current tag (suffix), or a layout as
	// calver.org writes them (calver). Other strategies have none.
	Constraint string
	AllowTags  string   // "regexp:" and an expression (RE2, unanchored), or "any"
	Extract    string   // what of AllowTags' groups is compared in place of the tag: "$1", "$name"
	IgnoreTags []string // patterns of path.Match, or "regexp:" and an expression
	Platforms  []string // os/arch[/variant]; newest-build and digest look for an image of one of them
	// PreReleases counts versions that are none yet even where Constraint names none.
	PreReleases bool
	Descending  bool          // alphabetical and numerical choose the first in place of the last
	MinAge      time.Duration // what is younger waits
}

// Policy is rules that were understood.
type Policy struct {
	rules  Rules
	allow  *regexp.Regexp // nil allows every tag
	ignore []*regexp.Regexp
	reader
}

// New understands rules. What it refuses is an error of kind Usage.
func New(r Rules) (Policy, error) {
	p := Policy{rules: r}
	if !slices.Contains(Strategies, r.Strategy) {
		return p, fault.Usagef("strategies: "+listed(Strategies), "there is no strategy %q", r.Strategy)
	}
	if r.Descending && r.Strategy != Alphabetical && r.Strategy != Numerical {
		return p, fault.Usagef("leave the order away", "strategy %s has no order to turn around", r.Strategy)
	}
	for _, platform := range r.Platforms {
		if parts := strings.Split(platform, "/"); len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			return p, fault.Usagef("for example: linux/amd64, linux/arm/v7", "platform %q is not OS/ARCH or OS/ARCH/VARIANT", platform)
		}
	}
	if len(r.Constraint) > maxPattern {
		return p, fault.Usagef("for example: ^1.2", "the constraint is longer than %d bytes", maxPattern)
	}
	err := cmp.Or(p.readIgnored(), p.readAllow())
	if err == nil {
		p.reader, err = readerOf(r)
	}
	return p, err
}

// maxPattern is the longest expression or constraint that is read, in bytes.
const maxPattern = 4096

func (p *Policy) readIgnored() error {
	for _, pattern := range p.rules.IgnoreTags {
		expression, found := strings.CutPrefix(pattern, "regexp:")
		if !found {
			if _, err := path.Match(pattern, ""); err != nil {
				return fault.Usagef("patterns are those of a shell: * ? [a-z]", "tags to ignore %q: %w", pattern, err)
			}
			continue
		}
		compiled, err := compile(expression)
		if err != nil {
			return fault.Usagef(hintExpression, "tags to ignore: %w", err)
		}
		p.ignore = append(p.ignore, compiled)
	}
	return nil
}

func (p *Policy) readAllow() error {
	expression, found := strings.CutPrefix(p.rules.AllowTags, "regexp:")
	switch {
	case p.rules.Extract != "" && !found:
		return fault.Usagef(`for example: regexp:^main-(\d+)$ with $1`, "there is nothing to extract from: what is allowed has no regexp:")
	case p.rules.AllowTags == "" || p.rules.AllowTags == "any":
		return nil
	case !found:
		return fault.Usagef("write regexp:EXPRESSION, or any", "tags to allow %q", p.rules.AllowTags)
	}
	var err error
	if p.allow, err = compile(expression); err != nil {
		return fault.Usagef(hintExpression, "tags to allow: %w", err)
	}
	return nil
}

const hintExpression = "expressions are those of RE2, see github.com/google/re2/wiki/Syntax"

func compile(expression string) (*regexp.Regexp, error) {
	if len(expression) > maxPattern {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxPattern)
	}
	return regexp.Compile(expression)
}

// Ineffective are the rules that are set and mean nothing to the strategy.
func (p Policy) Ineffective() (names []string) {
	builds := p.rules.Strategy == NewestBuild || p.rules.Strategy == Digest
	for name, idle := range map[string]bool{
		"constraint":  p.rules.Constraint != "" && (p.rules.Strategy == NewestBuild || p.rules.Strategy == Alphabetical || p.rules.Strategy == Numerical),
		"platform":    len(p.rules.Platforms) > 0 && !builds,
		"pre-release": p.rules.PreReleases && p.rules.Strategy != Semver && p.rules.Strategy != FluxSemver && p.rules.Strategy != Suffix,
		"extract":     p.rules.Extract != "" && builds,
	} {
		if idle {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Admits reports whether the name of a tag alone does not rule it out.
func (p Policy) Admits(tag string) bool {
	_, v := p.value(tag)
	return v == admitted
}

// value is what of a tag is compared.
func (p Policy) value(tag string) (string, verdict) {
	for _, pattern := range p.rules.IgnoreTags {
		if ok, _ := path.Match(pattern, tag); ok {
			return "", ignored
		}
	}
	if slices.ContainsFunc(p.ignore, func(x *regexp.Regexp) bool { return x.MatchString(tag) }) {
		return "", ignored
	}
	if p.allow == nil {
		return tag, admitted
	}
	groups := p.allow.FindStringSubmatchIndex(tag)
	switch {
	case groups == nil:
		return "", notAllowed
	case p.rules.Extract == "":
		return tag, admitted
	}
	return string(p.allow.ExpandString(nil, p.rules.Extract, tag, groups)), admitted
}

// Wants reports whether platform is one of those that are wanted; with none, every one is. One that is wanted without a
// variant takes any variant, as with Argo CD Image Updater: which images a node would run is another question.
func Wants(wanted []string, platform string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
		return w == platform || strings.Count(w, "/") == 1 && strings.HasPrefix(platform, w+"/")
	})
}

func listed[T ~string](all []T) string {
	var words []string
	for _, one := range all {
		words = append(words, string(one))
	}
	return strings.Join(words, ", ")
}

// verdict says what became of a tag.
type verdict int

const (
	admitted verdict = iota
	notAllowed
	ignored
	unread // not what the strategy compares
	preRelease
	outside
	otherPlatform
	ageless
	tooYoung
	verdicts
)

// words say of n tags what became of them.
func (p Policy) words(v verdict, n int) string {
	what := map[verdict]string{
		notAllowed: "not allowed", ignored: "ignored", outside: "outside " + p.rules.Constraint, tooYoung: "younger than " + timespan.Format(p.rules.MinAge),
		otherPlatform: "not for " + strings.Join(p.rules.Platforms, " or "), ageless: "of unknown age",
		unread: "that are no " + plural(p.unread), preRelease: "pre-releases ignored",
	}
	if n == 1 {
		what[unread], what[preRelease] = "that is no "+p.unread, "pre-release ignored"
	}
	return fmt.Sprintf("%d %s", n, what[v])
}

// plural is more than one of them: "versions like 1.27-alpine".
func plural(what string) string {
	noun, rest, more := strings.Cut(what, " ")
	if more {
		rest = " " + rest
	}
	return noun + "s" + rest
}
