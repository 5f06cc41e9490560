package main

import (
	"context"
	"os"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/cosign"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/catalog"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/timespan"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const updateAbout = `Choose versions by policy from the registries, and make the manifests name them.

A policy says how the version of an image is chosen. It stands in imgbump.yaml,

  images:
    - {name: harbor.example.com/team/app, policy: {strategy: semver, constraint: ^1.2}}

or beside the image that it is for:

  image: harbor.example.com/team/app:1.2.0 # imgbump: semver ^1.2

Strategies and constraints are those of 'imgbump tags'; 'imgbump policies' lists what was found. With
IMAGE only the policies for these repositories count.

Each registry is asked once for each repository, whatever it takes to commit. Then everything is done
as 'set' does it: in place, or as one commit or pull request. A place that has a digest keeps one; a
lower version than the one that is there is left alone without --allow-downgrade, and so is what is held
back (comment 'imgbump: hold'). --verify-cosign-key and --max-severity leave images alone that do not meet
them; --pin both writes the digest that was looked at. What fails for one image is told of, and the
others are updated: exit 3.`

const updateExamples = `  # what would change, and why
  imgbump update --dry-run --verbose

  # everything that has a policy, as one commit
  imgbump update --push

  # one image, as a pull request
  imgbump update harbor.example.com/team/app --pr --branch main

  # the manifests of a repository that is not checked out, nothing younger than a day
  imgbump update --repo https://github.com/team/gitops --branch main --min-age 24h`

func updateCommand(c *cli.Console) *cobra.Command {
	var f jobFlags
	var job bump.Job
	var paths []string
	job.Updates = &bump.Updates{}
	cmd := &cobra.Command{
		Use:        "update [IMAGE...]",
		Short:      "Choose versions by policy, and make the manifests name them",
		SuggestFor: []string{"run", "upgrade"}, // argocd-image-updater run
		Long:       updateAbout + "\n\n" + setEnvironment + cacheEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 5, 10, 130),
		Example:    updateExamples,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if job.Updates.Images, err = repositories(args); err != nil {
				return err
			}
			if job.Paths, err = limits(paths); err != nil {
				return err
			}
			job.Updates.Pin = bump.Pin(f.registry.pin)
			return f.run(cmd.Context(), c, "update", job)
		},
	}
	flags := cmd.Flags()
	f.bind(flags)
	f.registry.bindUpdate(flags, job.Updates)
	flags.StringArrayVar(&paths, "path", nil, "limit the search to `PATH`, a file or folder below --root (repeatable)")
	bindApplications(flags, &job.Applications)
	bindInclude(flags, &job.Include)
	flags.BoolVar(&job.VersionLabel, "version-label", false, "let the label app.kubernetes.io/version of the same object follow the tag")
	return cmd
}

// repositories are the images that were typed.
func repositories(typed []string) ([]imageref.Ref, error) {
	var refs []imageref.Ref
	for _, s := range typed {
		ref, err := imageref.Parse(s)
		switch {
		case err != nil:
			return nil, fault.Usagef("for example: harbor.example.com/team/app", "%w", err)
		case ref.Versioned():
			return nil, fault.Usagef("write "+ref.Name()+"; 'imgbump set' sets a version that you know", "%s: a policy chooses the version", s)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// bindUpdate binds the flags that say how versions are chosen.
func (f *registryFlags) bindUpdate(flags *pflag.FlagSet, u *bump.Updates) {
	flags.StringVar(&f.pin, "pin", "", "`PARTS` of the version to write: tag, digest or both (default: those that a place has)")
	flags.BoolVar(&u.Downgrade, "allow-downgrade", false, "go back to a lower version, or an older image, where a policy says so")
	flags.Func("min-age", "pass over what is younger than `AGE`, whatever a policy says: 24h, 7d", func(s string) (err error) {
		u.MinAge, err = timespan.Parse(s)
		return err
	})
	cli.Group(flags, "Registry", f.bindSeveral)
	cli.Group(flags, "Verification", f.bindDemands)
}

// bindDemands binds the flags that say which images must not be used.
func (f *registryFlags) bindDemands(flags *pflag.FlagSet) {
	flags.Func("verify-cosign-key", "use only images that the owner of the public key in the PEM `FILE` signed with cosign", func(file string) error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		key, err := cosign.ParseKey(data)
		if err == nil {
			f.demands.Key = &key
		}
		return err
	})
	flags.Func("max-severity", "use only images in which Harbor's scanner found nothing graver than `SEVERITY`: critical, high, medium, low, negligible", func(s string) (err error) {
		f.demands.MaxSeverity, err = harbor.ParseSeverity(s)
		return err
	})
}

// bindSeveral binds the flags for whatever registries the manifests name.
func (f *registryFlags) bindSeveral(flags *pflag.FlagSet) {
	f.access.Bind(flags)
	f.registries.Bind(flags)
}

// prepareUpdate lets the job choose versions. The login is for HARBOR_URL's registry, else for that of the first image that
// was asked for.
func (f *registryFlags) prepareUpdate(ctx context.Context, c *cli.Console, u *bump.Updates) error {
	options, err := f.access.Options(ctx, c, u.Images)
	if err != nil {
		return err
	}
	if options.Credential.Username != "" && options.Credential.Host == "" {
		return fault.Usagef("set HARBOR_URL", "there is a login, and nothing says which registry it is for")
	}
	options.Ledger, options.Lists, options.Observe, u.Signed = builds(c), f.lists, f.observe, f.demands.Key != nil
	u.Open = func(registries []config.Registry) (bump.Catalog, error) {
		if options.Settings, err = f.registries.Settings(c, registries); err != nil {
			return nil, err
		}
		f.client = registry.New(options)
		all := catalog.New(f.client, warner(c))
		if f.demands != (catalog.Demands{}) {
			u.Verify = func(ctx context.Context, ref imageref.Ref) error { return all.Verify(ctx, ref, f.demands) }
		}
		return all, nil
	}
	return nil
}

// tellChoices says what the policies chose, and why.
func tellChoices(c *cli.Console, o outcome) {
	for _, choice := range o.Choices {
		if choice.Err != nil || choice.Decision.Tag == "" {
			continue
		}
		c.Detailf("%s:%s: %s (%s)", choice.Image.Name(), choice.Decision.Tag, choice.Why, choice.Found)
	}
}

// decisionDocument is what a policy came to.
type decisionDocument struct {
	Target     string  `json:"target,omitempty"`
	Image      string  `json:"image"`
	Strategy   string  `json:"strategy"`
	Constraint string  `json:"constraint"`
	Origin     string  `json:"origin"`
	File       string  `json:"file"`
	Line       int     `json:"line"`
	Places     int     `json:"places"`
	Tag        *string `json:"tag"`
	Digest     *string `json:"digest"`
	Why        string  `json:"why"`
	Considered int     `json:"considered"`
}

// decisions are the choices of one target as the document has them.
func decisions(o outcome) []decisionDocument {
	all := []decisionDocument{}
	for _, x := range o.Choices {
		d := decisionDocument{
			Target: o.target, Image: x.Image.Name(), Strategy: string(x.Rules.Strategy), Constraint: x.Rules.Constraint,
			Origin: string(x.Origin), File: x.File, Line: x.Line, Places: len(x.Sites),
			Tag: known(x.Decision.Tag), Digest: known(x.Decision.Digest), Why: x.Why, Considered: x.Considered,
		}
		if x.Err != nil && d.Why == "" {
			d.Why = "failed: " + x.Err.Error()
		}
		all = append(all, d)
	}
	return all
}
