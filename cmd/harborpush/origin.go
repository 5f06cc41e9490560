package main

import (
	"context"
	"maps"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/provenance"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/ship"
)

const originEnvironment = `  GITHUB_*           of a workflow: the commit that labels and annotations of the image name
`

// originPatience is how long Harbor may take, after a push, for what is only good to have.
const originPatience = 20 * time.Second

// originFlags say what Harbor is told of the commit and the workflow run that an image comes from.
type originFlags struct {
	label  bool
	client *registry.Client
}

func (f *originFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&f.label, "harbor-labels", false, "in a GitHub workflow, have Harbor label the image with commit, run and actor, and describe the repository by its source")
}

// origin is the commit and the run of the workflow around us, if there is one.
func origin(getenv func(string) string) (provenance.Source, bool) {
	event, _ := os.ReadFile(getenv("GITHUB_EVENT_PATH")) // it only tells the commit of a pull request
	return provenance.FromWorkflow(getenv, event)
}

// tell has Harbor label what was pushed. It only warns: the push stands.
func (f *originFlags) tell(ctx context.Context, c *cli.Console, result ship.Result) {
	source, ok := origin(c.Getenv)
	if !f.label || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, originPatience)
	defer cancel()
	repositories := map[string]imageref.Ref{}
	for _, ref := range result.References {
		repositories[ref.Canonical()] = ref
	}
	for ref := range maps.Values(repositories) {
		hub := harbor.New(f.client, ref.Host())
		err := hub.Label(ctx, ref.Repository, result.Digest.String(), source.Labels())
		if err == nil {
			err = hub.Describe(ctx, ref.Repository, source.Description())
		}
		if err != nil {
			c.Warnf("", 0, "pushed, but Harbor has no labels of it: %v", err)
		}
	}
}

// page is the address of the image's page in Harbor's portal for the step summary, "" when the registry is none or does
// not say.
func (f *originFlags) page(ctx context.Context, c *cli.Console, result ship.Result) string {
	if c.Getenv("GITHUB_STEP_SUMMARY") == "" || len(result.References) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, originPatience)
	defer cancel()
	ref := result.References[0]
	hub := harbor.New(f.client, ref.Host())
	artifact, err := hub.Artifact(ctx, ref.Repository, result.Digest.String())
	if err != nil {
		c.Detailf("no page of the image for the summary: %v", err)
		return ""
	}
	page, _ := hub.Page(ctx, artifact)
	return page
}

// fill adds what links an image to its commit to labels or annotations; what is there stays.
func fill(into map[string]string, getenv func(string) string, refs []imageref.Ref, created time.Time) {
	source, ok := origin(getenv)
	if !ok {
		return
	}
	version := ""
	if len(refs) > 0 {
		version = refs[0].Tag
	}
	for key, value := range source.Annotations(version, created) {
		if _, given := into[key]; !given {
			into[key] = value
		}
	}
}
