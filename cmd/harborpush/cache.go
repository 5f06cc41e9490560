package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/stepcache/folder"
)

// cacheFlags are the flags of the cache of steps, as typed.
type cacheFlags struct {
	repo, dir, mode     string
	from, to            []string
	none, pull, explain bool
	fresh               []string
}

func (f *cacheFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.repo, "cache-repo", "", "take steps from the repository `HOST/REPO`, and keep them there")
	flags.StringVar(&f.dir, "cache-dir", "", "take steps from the folder `DIR`, and keep them there")
	flags.StringVar(&f.mode, "cache-mode", "min", "`MODE` of keeping: min, the steps that the image consists of, or max, those of all stages")
	flags.StringArrayVar(&f.from, "cache-from", nil, "take steps from `PLACE`: HOST/REPO, type=registry,ref=HOST/REPO or type=local,src=DIR (repeatable)")
	flags.StringArrayVar(&f.to, "cache-to", nil, "keep steps in `PLACE`: HOST/REPO, type=registry,ref=HOST/REPO or type=local,dest=DIR, with mode=max those of all stages (repeatable)")
	flags.BoolVar(&f.none, "no-cache", false, "take no step from a cache; what is kept is replaced")
	flags.StringArrayVar(&f.fresh, "no-cache-filter", nil, "take no step of `STAGE` from a cache (repeatable)")
	flags.BoolVar(&f.pull, "pull", false, "ask for base images anew, which is always done: a step counts for one digest of its base only")
	flags.BoolVar(&f.explain, "explain-cache", false, "say why a step was not in the cache")
}

// place is where steps are kept.
type place struct {
	ref    imageref.Ref // of a repository, or
	folder string
	all    bool // steps of all stages
}

// places are where steps are looked up and kept; complete makes a whole reference of what was typed.
func (f *cacheFlags) places(complete func(string) (imageref.Ref, error)) (from, to []place, err error) {
	if f.mode != "min" && f.mode != "max" {
		return nil, nil, fault.Usagef("it is min or max", "--cache-mode %q", f.mode)
	}
	both := []place{}
	if f.repo != "" {
		ref, err := complete(f.repo)
		if err != nil {
			return nil, nil, err
		}
		both = append(both, place{ref: ref, all: f.mode == "max"})
	}
	if f.dir != "" {
		both = append(both, place{folder: f.dir, all: f.mode == "max"})
	}
	from, to = slices.Clone(both), both
	for _, typed := range f.from {
		p, err := parsePlace("--cache-from", "src", typed, complete)
		if err != nil {
			return nil, nil, err
		}
		from = append(from, p)
	}
	for _, typed := range f.to {
		p, err := parsePlace("--cache-to", "dest", typed, complete)
		if err != nil {
			return nil, nil, err
		}
		p.all = p.all || f.mode == "max"
		to = append(to, p)
	}
	return from, to, nil
}

// refusedCaches are the kinds of cache that BuildKit has and this builder has not.
var refusedCaches = map[string]string{
	"inline": "it puts a description in BuildKit's words into the image; --cache-repo keeps the steps beside it",
	"gha":    "it is a service of GitHub's; --cache-dir, with actions/cache around it, does the same",
	"s3":     "keep steps in a registry with --cache-repo",
	"azblob": "keep steps in a registry with --cache-repo",
}

// parsePlace reads a place as docker buildx writes it, or a reference alone. Below a reference's repository steps have tags of
// their own: that of the reference does not matter.
func parsePlace(flag, folderKey, typed string, complete func(string) (imageref.Ref, error)) (place, error) {
	if !strings.Contains(typed, "=") {
		ref, err := complete(typed)
		return place{ref: ref}, err
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(typed, ",") {
		key, value, _ := strings.Cut(field, "=")
		fields[key] = value
	}
	kind, mode, ref, dir := fields["type"], fields["mode"], fields["ref"], fields[folderKey]
	p := place{folder: dir, all: mode == "max"}
	for _, known := range []string{"type", "mode", "ref", folderKey, "ignore-error", "image-manifest", "oci-mediatypes"} {
		delete(fields, known)
	}
	why, refused := refusedCaches[kind]
	switch {
	case refused:
		return p, fault.Usagef(why, "%s type=%s is for --builder buildkit", flag, kind)
	case len(fields) > 0:
		return p, fault.Usagef("leave it out", "%s %s: %s is not supported yet", flag, typed, slices.Sorted(maps.Keys(fields))[0])
	case kind == "registry" && ref != "" && dir == "":
		var err error
		p.ref, err = complete(ref)
		return p, err
	case kind == "local" && dir != "" && ref == "":
		return p, nil
	}
	return p, fault.Usagef("write type=registry,ref=HOST/REPO or type=local,"+folderKey+"=DIR", "%s %s names no place", flag, typed)
}

// caching is what the build does with its cache; scope tells builds apart that share one.
func (f *cacheFlags) caching(ctx context.Context, c *cli.Console, client *registry.Client, from, to []place, scope string) dockerfile.Caching {
	o := dockerfile.Caching{Fresh: f.none, FreshStages: f.fresh, Explain: f.explain, Scope: scope,
		Warn: func(err error) { c.Warnf("", 0, "%v; the build goes on without", err) }}
	open := func(p place) dockerfile.Cache {
		if p.folder != "" {
			return folder.New(p.folder)
		}
		return client.StepCache(ctx, p.ref)
	}
	for _, p := range from {
		o.From = append(o.From, open(p))
	}
	for _, p := range to {
		o.All = o.All || p.all
		o.To = append(o.To, open(p))
	}
	return o
}

// buildkitTag is the tag of a repository that BuildKit keeps its description of steps under.
const buildkitTag = "buildcache"

// open is the cache for a build here, and for one that BuildKit makes; first names the image.
func (f *cacheFlags) open(ctx context.Context, c *cli.Console, access *access.Flags, client *registry.Client, first imageref.Ref) (here dockerfile.Caching, there stepCache, err error) {
	from, to, err := f.places(func(typed string) (imageref.Ref, error) {
		ref, err := access.Repository(ctx, c, typed)
		if err == nil && ref.Registry == "" {
			err = fault.Usagef("write HOST/REPO, or set HARBOR_URL and HARBOR_PROJECT", "the cache %s names no registry", typed)
		}
		return ref, err
	})
	if err != nil {
		return here, there, err
	}
	there = stepCache{from: repositories(from), to: repositories(to), none: f.none, noneForStages: f.fresh, pull: f.pull}
	here = f.caching(ctx, c, client, from, to, first.Bare().String())
	there.all = here.All
	return here, there, nil
}

// repositories are the places in registries, as BuildKit wants them.
func repositories(places []place) (refs []imageref.Ref) {
	for _, p := range places {
		if p.folder == "" {
			p.ref.Tag = cmp.Or(p.ref.Tag, buildkitTag)
			refs = append(refs, p.ref)
		}
	}
	return refs
}
