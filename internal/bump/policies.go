package bump

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Governed is a policy with the sites whose versions it chooses, in the order of the files.
type Governed struct {
	config.Found
	Sites []manifest.Site
}

// Policies are what a tree says about choosing versions, and what is wrong with that.
type Policies struct {
	Governed []Governed
	Failures []Failure
	Warnings []Warning

	unclear map[place]bool // sites whose own comment makes no sense: no other policy is for them
	targets targets
}

// Err is the error that a list with failures ends with: of kind Partial, or Usage where nothing else was found.
func (p Policies) Err() error {
	return Plan{Failures: p.Failures, Named: len(p.Governed), Choices: make([]Choice, 1)}.Err()
}

// Policies finds the policies of the files, and which sites each is for. The job's paths and applications limit the sites,
// not where policies may stand.
func (j Job) Policies(ctx context.Context, files Files) (Policies, error) {
	src, err := j.source(files)
	if err != nil {
		return Policies{}, err
	}
	return j.policies(ctx, src)
}

func (j Job) policies(ctx context.Context, src source) (Policies, error) {
	t, err := search(ctx, src, nil, wanted{})
	if err != nil {
		return Policies{}, err
	}
	p := Policies{unclear: map[place]bool{}}
	for _, found := range src.config.Images {
		p.Governed = append(p.Governed, Governed{Found: found})
	}
	j.unread(t, &p)
	p.comments(t)
	var deployers owners
	if len(j.Applications) > 0 || len(t.declared) > 0 || len(t.foreign.updaters) > 0 {
		j.Owners = true
		if deployers, err = j.owners(ctx, t, newOverlays(t)); err != nil {
			return Policies{}, err
		}
	}
	j.foreign(&p, t, deployers)
	p.anyPlatform()
	p.sort()
	j.assign(t, deployers, &p)
	j.writeBacks(t, deployers, &p)
	return p, nil
}

// comments adds the policies that stand beside the sites.
func (p *Policies) comments(t *tree) {
	for _, f := range t.found {
		for _, site := range f.sites {
			found, err := config.Comment(site)
			switch {
			case err != nil:
				p.Failures = append(p.Failures, Failure{Image: site.Ref.String(), File: site.File, Line: site.RuleLine, Err: err})
				p.unclear[place{site.File, site.Start}] = true
			case found != nil:
				p.Governed = append(p.Governed, Governed{Found: *found})
			}
		}
	}
}

// precedence is the order in which policies of different origin go before one another.
var precedence = []config.Origin{config.FromComment, config.FromFile, config.FromFlux, config.FromImageUpdater}

// sort puts first what goes first.
func (p *Policies) sort() {
	rank := func(g Governed) int { return slices.Index(precedence, g.Origin) }
	slices.SortStableFunc(p.Governed, func(a, b Governed) int { return cmp.Compare(rank(a), rank(b)) })
}

// assign gives each site that the job covers to the first policy that is for it.
func (j Job) assign(t *tree, deployers owners, p *Policies) {
	byName := map[string][]int{}
	applications := len(j.Applications) > 0
	for i, g := range p.Governed {
		for _, name := range []imageref.Ref{g.Image, g.Scope.Names} {
			if name.Repository != "" {
				byName[name.Canonical()] = append(byName[name.Canonical()], i)
			}
		}
		applications = applications || g.Scope.Application != ""
	}
	if applications = applications && deployers.Index != nil; applications {
		p.Warnings = append(p.Warnings, deployers.warnings()...)
	}
	for _, f := range t.found {
		for _, site := range f.sites {
			candidates := slices.Concat(byName[site.Ref.Canonical()], byName[site.Replaces.Canonical()])
			if len(candidates) == 0 || !j.covers(site.File) || p.unclear[place{site.File, site.Start}] {
				continue
			}
			var deployed []argocd.Owner
			if applications {
				deployed = deployers.of(site)
			}
			if j.concerns(deployed) {
				p.give(site, candidates, deployed)
			}
		}
	}
}

// give gives the site to the first of the candidates that is for it.
func (p *Policies) give(site manifest.Site, candidates []int, deployed []argocd.Owner) {
	slices.Sort(candidates)
	for _, i := range candidates {
		g := &p.Governed[i]
		deploys := func(o argocd.Owner) bool { return o.Is(g.Scope.Application) }
		if g.WriteBack == nil && g.Governs(site) && (g.Scope.Application == "" || slices.ContainsFunc(deployed, deploys)) {
			g.Sites = append(g.Sites, site)
			return
		}
	}
}

// idle warns of policies that are for no site, where all sites were looked at.
func (p *Policies) idle(j Job) []Warning {
	if len(j.Paths) > 0 || len(j.Applications) > 0 {
		return nil
	}
	var all []Warning
	for _, g := range p.Governed {
		if len(g.Sites) == 0 && g.Unsupported == "" && g.WriteBack == nil {
			all = append(all, Warning{File: g.File, Line: g.Line, Text: "the policy for " + g.Image.Name() + " is for no place: none names it, or another policy goes first"})
		}
	}
	return all
}

// logins are the pull secrets that policies name for their registries. Other forms of credentials are not for a repository to
// choose.
func (p *Policies) logins() (all []config.Registry) {
	for _, g := range p.Governed {
		if strings.HasPrefix(g.Credentials, "pullsecret:") {
			all = append(all, config.Registry{Host: g.Image.Host(), Credentials: g.Credentials})
		}
	}
	return all
}

// policyExample is how a policy is written.
const policyExample = "write one into imgbump.yaml: images: [{name: harbor.example.com/team/app, policy: {strategy: semver, constraint: ^1.2}}]; " +
	"or behind an image: # imgbump: semver ^1.2"

// limit keeps the policies for the images that were asked for, all without any. That there are none is an error of kind
// Usage.
func (p *Policies) limit(images []imageref.Ref) error {
	if len(p.Governed) == 0 && len(p.Failures) == 0 {
		return fault.Usagef(policyExample, "no policy says how versions are chosen")
	}
	var known []string
	for _, g := range p.Governed {
		if name := g.Image.Name(); name != "" && !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	if len(images) == 0 {
		return nil
	}
	kept := make([]bool, len(p.Governed))
	for _, image := range images {
		any := false
		for i, g := range p.Governed {
			if g.Image.Same(image) || g.Scope.Names.Repository != "" && g.Scope.Names.Same(image) {
				kept[i], any = true, true
			}
		}
		if !any {
			return fault.Usagef("there are policies for: "+strings.Join(known[:min(len(known), 2*nearestShown)], ", "), "no policy is for %s", image.Name())
		}
	}
	var governed []Governed
	for i, g := range p.Governed {
		if kept[i] {
			governed = append(governed, g)
		}
	}
	p.Governed = governed
	p.Failures = slices.DeleteFunc(p.Failures, func(f Failure) bool {
		ref, err := imageref.Parse(f.Image)
		return err == nil && !slices.ContainsFunc(images, ref.Same)
	})
	return nil
}
