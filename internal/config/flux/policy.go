package flux

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/config/resource"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/ignore"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// maxPolicies is how many policies a tree may have, and maxComparisons with how many places and automations all of them may
// be compared. Nobody has as many, but hostile manifests may.
const (
	maxPolicies    = 50_000
	maxComparisons = 20_000_000
)

// Policies are those for the marked sites: one for each name by which these call the policy's image. Place is where the
// files lie.
func (o *Objects) Policies(sites []manifest.Site, place argocd.Place) (all []config.Found, notices []config.Notice) {
	known, told := map[string]bool{}, map[config.Notice]bool{}
	marked := map[string][]manifest.Site{} // by the name of the policy
	for _, s := range sites {
		_, name, _ := strings.Cut(s.Marker, ":")
		marked[name] = append(marked[name], s)
	}
	compared := 0
	for _, p := range o.policies {
		if compared += len(marked[p.Name]) + len(o.automations); len(all) > maxPolicies || compared > maxComparisons {
			return all, append(notices, config.Notice{File: p.File, Line: p.Line,
				Text: fmt.Sprintf("this policy and those after it are left out of account: there are more than %d, or too many places and automations to compare them with", maxPolicies)})
		}
		f := o.found(p, told)
		automated := o.limit(&f, p, place)
		if !automated && len(o.automations) > 0 && f.Unsupported == "" {
			f.Unsupported = "no ImageUpdateAutomation is for it here"
		}
		variants := p.variants(f, marked[p.Name])
		for _, v := range variants {
			known[v.Scope.Marker] = true
		}
		if len(variants) == 0 {
			variants = []config.Found{f}
		}
		all = append(all, variants...)
	}
	for _, s := range sites {
		if s.Marker != "" && !known[s.Marker] && len(o.policies) > 0 {
			known[s.Marker] = true
			notices = append(notices, config.Notice{File: s.File, Line: s.Line, Text: "no ImagePolicy here is called " + s.Marker + ": what is marked so stays"})
		}
	}
	return all, notices
}

// variants are the policy for each name that the sites marked so have, and each namespace where it has none of its own.
func (p imagePolicy) variants(f config.Found, sites []manifest.Site) (all []config.Found) {
	type variant struct {
		marker, name string
		keeps        bool
	}
	seen := map[variant]bool{}
	for _, s := range sites {
		if namespace, _, _ := strings.Cut(s.Marker, ":"); p.Namespace != "" && namespace != p.Namespace {
			continue
		}
		v := f
		v.Scope.Marker = s.Marker
		if len(all) > 0 {
			v.Notices = nil // the first has them
		}
		if !s.Ref.Same(f.Image) && f.Image.Repository != "" {
			v.Scope.Names, v.Scope.KeepsName = s.Ref.Bare(), !s.NameMarked
		}
		if key := (variant{v.Scope.Marker, v.Scope.Names.Canonical(), v.Scope.KeepsName}); !seen[key] {
			seen[key] = true
			all = append(all, v)
		}
	}
	return all
}

// found is the policy, whatever it is for. Told is what was said of others already.
func (o *Objects) found(p imagePolicy, told map[config.Notice]bool) config.Found {
	f := config.Found{Origin: config.FromFlux, File: p.File, Line: p.Line, Name: strings.TrimPrefix(p.Namespace+":"+p.Name, ":")}
	f.Scope.Marker = f.Name
	say := func(t resource.Text, format string, args ...any) {
		n := config.Notice{File: t.File, Line: t.Line, Text: fmt.Sprintf(format, args...)}
		if !told[n] { // another policy has the same repository
			told[n], f.Notices = true, append(f.Notices, n)
		}
	}
	r, found := o.repositories[p.repository]
	if !found {
		f.Unsupported = "there is no ImageRepository " + strings.TrimPrefix(p.repository, "/") + " here"
		return f
	}
	var err error
	if f.Image, err = imageref.Parse(r.image.Value); err != nil || f.Image.Versioned() {
		f.Image = f.Image.Bare()
		f.Unsupported = fmt.Sprintf("image %q of ImageRepository %s is no repository", r.image.Value, r.Name)
		return f
	}
	f.Rules = policy.Rules{IgnoreTags: []string{"*.sig"}} // as Flux does where no list is given
	if r.exclusions != nil {
		f.Rules.IgnoreTags = nil
	}
	for _, x := range r.exclusions {
		f.Rules.IgnoreTags = append(f.Rules.IgnoreTags, "regexp:"+x.Value)
	}
	if r.insecure.Value == "true" {
		say(r.insecure, "insecure: the registry is asked without TLS only with --plain-http")
	}
	if r.secret.Value != "" {
		f.Credentials = "pullsecret:" + cmp.Or(r.Namespace, "default") + "/" + r.secret.Value
	} else if r.cloud.Value != "" && r.cloud.Value != "generic" {
		say(r.cloud, "provider %s: its credential helper in Docker's configuration does that here", r.cloud.Value)
	}
	p.rules(&f)
	if f.Unsupported == "" && (p.suspended || r.suspended) {
		f.Unsupported = "it is suspended"
	}
	return f
}

// rules makes the policy's rules.
func (p imagePolicy) rules(f *config.Found) {
	r := &f.Rules
	switch p.strategy {
	case "semver":
		r.Strategy, r.Constraint = policy.FluxSemver, p.rule.Value
	case "numerical":
		r.Strategy = policy.Numerical
	case "alphabetical":
		r.Strategy = policy.Alphabetical
	default:
		f.Unsupported = "its policy is none of semver, numerical and alphabetical"
		return
	}
	if p.strategy != "semver" {
		if r.Descending = p.rule.Value == "desc"; !r.Descending && p.rule.Value != "" && p.rule.Value != "asc" {
			f.Unsupported = fmt.Sprintf("order %q is neither asc nor desc", p.rule.Value)
		}
	}
	if p.pattern.Value != "" {
		r.AllowTags, r.Extract = "regexp:"+p.pattern.Value, p.extract.Value
	}
	switch p.digest.Value {
	case "", "Never":
	case "Always", "IfNotPresent":
		f.PinDigest = true
	default:
		f.Unsupported = fmt.Sprintf("digestReflectionPolicy %q is none", p.digest.Value)
	}
	if _, err := policy.New(*r); err != nil && f.Unsupported == "" {
		f.Unsupported = err.Error()
	}
}

// limit limits the policy to the files of the automations that are for it; ok is false when none is.
func (o *Objects) limit(f *config.Found, p imagePolicy, place argocd.Place) (ok bool) {
	var lines []string
	everywhere := false
	for _, a := range o.automations {
		address, known := o.sources[a.source]
		label := func(key string) (string, bool) { v, ok := p.Labels[key]; return v, ok }
		switch {
		case known && !place.Has(address), a.Namespace != "" && p.Namespace != "" && a.Namespace != p.Namespace, !a.selector.Selects(label):
			continue
		case a.strategy.Given() && a.strategy.Value != setters:
			continue
		}
		ok = true
		dir := strings.TrimPrefix(path.Clean("/"+a.path.Value), "/")
		if dir == "" || strings.HasPrefix(place.Prefix+"/", dir+"/") {
			everywhere = true
		} else if below, inTree := place.InTree(dir); inTree {
			lines = append(lines, "/"+literal(below))
		}
	}
	if ok && !everywhere {
		f.Scope.Paths = ignore.Parse([]byte(strings.Join(lines, "\n")))
	}
	return ok
}

// literal is a path as a pattern that means it alone.
func literal(p string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "\n", "?").Replace(p)
}
