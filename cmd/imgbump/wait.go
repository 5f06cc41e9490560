package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/argoapi"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/rollout"
	"github.com/ksera524/imgbump/internal/trust"
	"github.com/ksera524/imgbump/internal/vigil"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const waitAbout = `Wait until a commit is live in Argo CD's applications: compared, synced, healthy, and so at a second look.

Argo CD is asked to look at once, and watched. A newer commit counts too when the one that is waited
for is part of it, which git tells. An application that creates others is live when all of them are.

It ends early, with exit 7 and what to do, where waiting is in vain: the sync failed, a window forbids
it, nothing syncs it, the application is degraded for half a minute, or suspended until somebody
promotes it. --timeout ends the rest.

Argo CD is asked over its own API with --argocd-server, else over the API of its cluster, as KUBECONFIG,
~/.kube/config or the pod's service account says.`

const waitEnvironment = `Environment:
  ARGOCD_AUTH_TOKEN  token for --argocd-server, sent to that host alone
  ARGOCD_SERVER      address, as --argocd-server
  KUBECONFIG         files that say how the cluster is reached, without --argocd-server
  IMGBUMP_TOKEN, GITHUB_TOKEN
                     token for the git server, where a commit is not in the checkout
`

const waitExamples = `  # until the commit that is checked out is live in an application
  imgbump wait slack --argocd-server argocd.example.com

  # in every application whose files the commit touched
  imgbump set --push sandbox/rss:1.5.0 && imgbump wait --all-changed

  # without a checkout
  imgbump wait slack --repo https://github.com/example/gitops.git --revision "$SHA"`

// waitFlags are the flags of wait, as typed.
type waitFlags struct {
	revision   string
	allChanged bool
	root       string
	timeout    time.Duration

	server    string
	caFile    string
	namespace string

	repo, remote, branch string
	login                gitaccess.Flags
}

func waitCommand(c *cli.Console) *cobra.Command {
	var f waitFlags
	cmd := &cobra.Command{
		Use:     "wait [APPLICATION...]",
		Short:   "Wait until a commit is live in Argo CD's applications",
		Long:    waitAbout + "\n\n" + waitEnvironment + "\n" + cli.Exits(0, 1, 2, 4, 7, 130),
		Example: waitExamples,
		Args:    cli.Args(cobra.ArbitraryArgs),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), c, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.revision, "revision", "", "wait for the commit `SHA`, in full (default: the one checked out; with --repo the branch's)")
	flags.BoolVar(&f.allChanged, "all-changed", false, "wait for every application whose files the commit touched, as the manifests below --root tell")
	flags.StringVar(&f.root, "root", ".", "folder `DIR` of the repository that holds the manifests")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "`TIME` to wait, in all")
	cli.Group(flags, "Argo CD", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.server, "argocd-server", "", "`ADDRESS` of Argo CD's own API, http:// for one without TLS (default: ARGOCD_SERVER, else the cluster's API)")
		flags.StringVar(&f.caFile, "argocd-ca-file", "", "PEM `FILE` of certificates to trust for --argocd-server")
		flags.StringVar(&f.namespace, "argocd-namespace", "argocd", "`NAMESPACE` that Argo CD's applications are in")
	})
	cli.Group(flags, "Git server", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.repo, "repo", "", "the repository at `URL`, without a checkout; --root is a folder of it then")
		flags.StringVar(&f.remote, "remote", "origin", "`REMOTE` of the checkout that Argo CD deploys from")
		flags.StringVar(&f.branch, "branch", "", "`BRANCH` that it deploys (default: the one checked out, else the workflow's, else the remote's default)")
		f.login.Bind(flags)
	})
	return cmd
}

func (f *waitFlags) run(ctx context.Context, c *cli.Console, args []string) error {
	names, err := f.names(args)
	if err != nil {
		return err
	}
	server, err := f.dial(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	past, err := f.past(ctx, c)
	if err != nil {
		return err
	}
	defer past.close()
	if f.allChanged {
		if names, err = past.touched(ctx, c); err != nil {
			return err
		}
	}
	v := vigil.Vigil{
		Server: server, Commit: past.commit, Applications: names, Namespace: f.namespace, Declared: f.allChanged,
		Source: past.source, Relation: func(revision string) rollout.Relation { return past.relation(ctx, revision) },
		Tell: func(o vigil.Outcome) { c.Progressf("%s", told(o)) },
	}
	outcomes, err := f.keep(ctx, c, &v)
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if err == nil {
		err = f.verdict(outcomes, past.commit)
	}
	if printing := reportWait(c, past.commit, outcomes, err); printing != nil {
		return printing
	}
	return err
}

// keep waits, unless there is nothing to wait for.
func (f *waitFlags) keep(ctx context.Context, c *cli.Console, v *vigil.Vigil) ([]vigil.Outcome, error) {
	if len(v.Applications) == 0 {
		c.Progressf("%.7s touches nothing that an application deploys", v.Commit)
		return nil, nil
	}
	c.Progressf("waiting for %.7s in %s", v.Commit, few(strings.Join(v.Applications, ", ")))
	return v.Keep(ctx)
}

// names are the applications that were asked for, each once.
func (f *waitFlags) names(args []string) ([]string, error) {
	switch {
	case f.timeout <= 0:
		return nil, fault.Usagef("for example: --timeout 10m", "--timeout %v leaves no time", f.timeout)
	case f.allChanged && len(args) > 0:
		return nil, fault.Usagef("leave one of them away", "--all-changed finds the applications, and %s is named", args[0])
	case !f.allChanged && len(args) == 0:
		return nil, fault.Usagef("name applications, or add --all-changed", "no application is named")
	case f.repo != "" && f.remote != "origin":
		return nil, fault.Usagef("name one of them", "--repo and --remote both name the repository")
	case f.revision != "" && (len(f.revision) != 40 || strings.Trim(f.revision, "0123456789abcdef") != ""):
		return nil, fault.Usagef(`for example: --revision "$(git rev-parse HEAD)"`, "--revision %s is no commit's full id", f.revision)
	}
	var names []string
	for _, arg := range args {
		if _, _, err := argoapi.ParseName(arg); err != nil {
			return nil, fault.Usagef("for example: imgbump wait slack", "%w", err)
		}
		if name := f.short(arg); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// short is an application's name without Argo CD's own namespace.
func (f *waitFlags) short(name string) string { return strings.TrimPrefix(name, f.namespace+"/") }

// dial is the way to Argo CD. Nothing is sent yet.
func (f *waitFlags) dial(c *cli.Console) (vigil.Server, error) {
	address := cmp.Or(f.server, c.Getenv("ARGOCD_SERVER"))
	if address == "" {
		cluster, err := kube.Open(c.Getenv, c.Agent())
		if err != nil {
			return nil, err
		}
		return &argoapi.Cluster{API: cluster, Namespace: f.namespace, Warn: func(text string) { c.Warnf("", 0, "%s", text) }}, nil
	}
	roots, err := trust.Roots(f.caFile)
	if err != nil {
		return nil, err
	}
	token := c.Getenv("ARGOCD_AUTH_TOKEN")
	if token != "" {
		c.Workflow.Mask(token)
	}
	return argoapi.OpenREST(argoapi.Options{Address: address, Token: token, Roots: roots, Agent: c.Agent()})
}

// verdict is the error that a finished run ends with.
func (f *waitFlags) verdict(outcomes []vigil.Outcome, commit string) error {
	var open []vigil.Outcome
	hint, ended := "", false
	for _, o := range outcomes {
		if o.State != rollout.Live {
			open = append(open, o)
			ended = ended || o.State == rollout.Ended
			hint = cmp.Or(hint, o.Hint)
		}
	}
	if len(open) == 0 {
		return nil
	}
	what := fmt.Sprintf("%.7s is not live in %d of %d applications", commit, len(open), len(outcomes))
	if !ended {
		what += fmt.Sprintf(" after %v", f.timeout)
		hint = cmp.Or(hint, "allow more with --timeout")
	}
	return &fault.Error{Kind: fault.Gate, What: what, Hint: hint, Err: errors.New(vigil.Pending(open))}
}

// touched are the applications that deploy, from the branch, what the commit changes.
func (p *past) touched(ctx context.Context, c *cli.Console) ([]string, error) {
	if p.branch == nil {
		return nil, fault.Usagef("run it in a checkout, or name --repo", "--all-changed needs the repository, and %s is no checkout of it", p.flags.root)
	}
	changed, err := p.branch.Changed(ctx, p.commit)
	if err != nil {
		return nil, err
	}
	place := argocd.Place{Repository: p.address, Prefix: p.prefix}
	files := bump.Files(func(under []string) iter.Seq2[manifest.File, error] {
		return bump.FilesAt(ctx, p.branch, p.commit, p.prefix, under)
	})
	owners, warnings, err := bump.Job{Place: place}.Deploying(ctx, files, changed)
	if err != nil {
		return nil, err
	}
	tellPlaces(c, warnings, nil, nil)
	var names []string
	for _, o := range owners {
		name := o.Name
		if o.Namespace != "" {
			name = p.flags.short(o.Namespace + "/" + o.Name)
		}
		follows := o.Revision == "" || o.Revision == "HEAD" || strings.TrimPrefix(o.Revision, "refs/heads/") == p.branch.Name()
		if follows && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
