package aiu

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// found is the policy for an image of a request.
func (b *builder) found(r request, i image) config.Found {
	f := config.Found{Origin: config.FromImageUpdater, File: i.name.File, Line: i.name.Line, Name: i.alias}
	f.Scope.Application = r.app.Qualified()
	if t, is := i.templated(); is {
		f.Unsupported = fmt.Sprintf("%s:%d is a template that is not rendered", t.File, t.Line)
		return f
	}
	var constraint string
	var err error
	if f.Image, constraint, err = identified(i.name.Value); err != nil {
		f.Unsupported = err.Error()
		return f
	}
	f.Unsupported = b.rules(&f, i.choice, constraint)
	if f.Unsupported == "" && i.plugin {
		f.Unsupported = "what a plugin of Argo CD gets as its environment is not written"
	}
	if i.cosign {
		f.Signed = "imagesVerification asks for a signature, and its key is in the cluster"
	}
	f.Credentials = b.credentials(&f, i.choice.pullSecret)
	if force := i.choice.force; f.Unsupported == "" && force.Value != "" {
		if _, err := strconv.ParseBool(force.Value); err != nil {
			f.Unsupported = fmt.Sprintf("force-update %q (%s:%d) is neither true nor false; Image Updater does nothing either", force.Value, force.File, force.Line)
		}
	}
	if f.Unsupported == "" {
		f.Unsupported = b.writeBack(&f, r, i)
	}
	return f
}

// templated is the first value that is a template of an ApplicationSet still.
func (i image) templated() (text, bool) {
	all := slices.Concat([]text{i.name, i.choice.strategy, i.choice.allow, i.choice.pullSecret, i.choice.force, i.helmName, i.helmTag, i.helmSpec, i.kustomize},
		i.choice.ignore, i.choice.platforms)
	n := slices.IndexFunc(all, func(t text) bool { return strings.Contains(t.Value, "{{") })
	if n < 0 {
		return text{}, false
	}
	return all[n], true
}

// identified is the repository and the constraint of [REGISTRY/]NAME[:CONSTRAINT], where the constraint need be no tag.
func identified(s string) (ref imageref.Ref, constraint string, err error) {
	if ref, err = imageref.Parse(s); err == nil {
		return ref.Bare(), ref.Tag, nil
	}
	host, rest := "", s
	if first, after, ok := strings.Cut(s, "/"); ok && strings.ContainsAny(first, ".:") {
		host, rest = first+"/", after
	}
	name, constraint, _ := strings.Cut(rest, ":")
	ref, err = imageref.Parse(host + name)
	return ref, constraint, err
}

// strategies are the names that Image Updater has, and had.
var strategies = map[string]policy.Strategy{
	"semver": policy.Semver, "newest-build": policy.NewestBuild, "latest": policy.NewestBuild, "digest": policy.Digest,
	"alphabetical": policy.Alphabetical, "name": policy.Alphabetical,
}

// platformForm is OS/ARCH or OS/ARCH/VARIANT.
var platformForm = regexp.MustCompile(`^[a-z0-9]+(?:/[a-z0-9_.]+){1,2}$`)

// rules makes the settings the policy's. What it returns is why Image Updater would choose nothing.
func (b *builder) rules(f *config.Found, s settings, constraint string) (unsupported string) {
	strategy, known := strategies[strings.ToLower(strings.TrimSpace(s.strategy.Value))]
	if !known {
		strategy = policy.Semver
		if s.strategy.Value != "" {
			b.say(f, s.strategy.Place, "there is no strategy %q: semver counts, as in Image Updater", s.strategy.Value)
		}
	}
	f.Rules = policy.Rules{Strategy: strategy}
	if strategy == policy.Semver || strategy == policy.Digest {
		f.Rules.Constraint = constraint
	}
	for _, pattern := range s.ignore {
		if _, err := path.Match(pattern.Value, ""); err != nil || strings.HasPrefix(pattern.Value, "regexp:") { // no tag has a colon
			b.say(f, pattern.Place, "ignore-tags: %q is no pattern, and ignores nothing", pattern.Value)
			continue
		}
		f.Rules.IgnoreTags = append(f.Rules.IgnoreTags, pattern.Value)
	}
	for _, platform := range s.platforms {
		if !platformForm.MatchString(platform.Value) {
			b.say(f, platform.Place, "platforms: %q is none, such as linux/amd64; it is passed over", platform.Value)
			continue
		}
		f.Rules.Platforms = append(f.Rules.Platforms, platform.Value)
	}
	if expression, ok := strings.CutPrefix(strings.TrimSpace(s.allow.Value), "regexp:"); ok {
		if _, err := regexp.Compile(expression); err != nil {
			return "allow-tags matches no tag: " + err.Error()
		}
		f.Rules.AllowTags = "regexp:" + expression
	} else if value := strings.TrimSpace(s.allow.Value); value != "" && value != "any" {
		return "allow-tags " + strconv.Quote(value) + " matches no tag: write regexp:EXPRESSION, or any"
	}
	if strategy == policy.Digest && constraint == "" {
		return "strategy digest needs the tag to look at: write " + f.Image.Name() + ":TAG; Image Updater does nothing either"
	}
	if _, err := policy.New(f.Rules); err != nil {
		return err.Error() + "; Image Updater does nothing either"
	}
	return ""
}

// credentials are a pull secret's name, as config.Found has it.
func (b *builder) credentials(f *config.Found, secret text) string {
	value := strings.TrimSpace(secret.Value)
	kind, _, named := strings.Cut(value, ":")
	switch {
	case value == "", kind == "pullsecret":
		return value
	case !named && strings.Count(value, "/") == 1:
		return "pullsecret:" + value
	}
	b.once(f, secret.Place, "pull-secret %s: of these forms only pullsecret:NAMESPACE/NAME is taken from a repository; put the others into --registries-conf", cmp.Or(kind, value)+":...")
	return ""
}
