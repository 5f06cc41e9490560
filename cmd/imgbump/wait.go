package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/argoapi"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
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

It ends early, with exit 7 and what to do, where waiting is in vain: the sync failed three times, a
window forbids it, nothing syncs it, the application follows another branch, is degraded for half a
minute, or suspended until somebody promotes it. --timeout ends the rest. What failed is shown with its
last events and, of pods, lines of the log.

Argo CD is asked over its own API with --argocd-server, else over the API of its cluster, as KUBECONFIG,
~/.kube/config or the pod's service account says.`

const waitEnvironment = `Environment:
  ARGOCD_AUTH_TOKEN  token for --argocd-server, sent to that host alone
  ARGOCD_SERVER      address, as --argocd-server
  KUBECONFIG         files that say how the cluster is reached, without --argocd-server
  IMGBUMP_ARGOCD_WEBHOOK_SECRET
                     secret that signs what --refresh-webhook posts
  IMGBUMP_TOKEN, GITHUB_TOKEN
                     token for the git server, where a commit is not in the checkout
`

const waitExamples = `  # until the commit that is checked out is live in an application
  imgbump wait slack --argocd-server argocd.example.com

  # in every application whose files the commit touched
  imgbump set harbor.example.com/team/app:1.5.0 --push && imgbump wait --all-changed

  # without a checkout
  imgbump wait slack --repo https://github.com/example/gitops.git --revision "$SHA"`

// waitFlags are the flags of wait, as typed.
type waitFlags struct {
	revision   string
	allChanged bool
	root       string
	timeout    time.Duration
	retries    int
	logLines   int

	server    string
	caFile    string
	namespace string

	webhook, webhookSecretFile string

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
	flags.IntVar(&f.retries, "sync-retries", 2, "`COUNT` of Argo CD's own retries of a failed sync that are waited for")
	flags.IntVar(&f.logLines, "log-lines", 10, "`COUNT` of the last lines to show of a failing pod's log, 0 for none")
	cli.Group(flags, "Argo CD", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.server, "argocd-server", "", "`ADDRESS` of Argo CD's own API, http:// for one without TLS (default: ARGOCD_SERVER, else the cluster's API)")
		flags.StringVar(&f.caFile, "argocd-ca-file", "", "PEM `FILE` of certificates to trust for --argocd-server and --refresh-webhook")
		flags.StringVar(&f.namespace, "argocd-namespace", "argocd", "`NAMESPACE` that Argo CD's applications are in")
		flags.StringVar(&f.webhook, "refresh-webhook", "", "have Argo CD look by posting the push to its webhook at `URL`, https://HOST/api/webhook; a refresh is asked for only where that does not help")
		flags.StringVar(&f.webhookSecretFile, "refresh-webhook-secret-file", "", "`FILE` with the secret that signs it, webhook.github.secret of argocd-secret (default: IMGBUMP_ARGOCD_WEBHOOK_SECRET)")
	})
	cli.Group(flags, "Git server", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.repo, "repo", "", "the repository at `URL`, without a checkout; --root is a folder of it then")
		flags.StringVar(&f.remote, "remote", "origin", "`REMOTE` of the checkout that Argo CD deploys from")
		flags.StringVar(&f.branch, "branch", "", "`BRANCH` that it deploys (default: the one checked out, else the workflow's, else the remote's default)")
		f.login.Bind(flags)
	})
	return cmd
}

// argo is Argo CD over either API.
type argo interface {
	vigil.Server
	// Troubles are the resources that keep an application from being live, with their last events and lines of their logs.
	Troubles(ctx context.Context, application string, a *rollout.Application, lines int) []rollout.Trouble
}

// waiting is a run of wait.
type waiting struct {
	*waitFlags
	console  *cli.Console
	argo     argo
	names    []string
	commit   string
	outcomes []vigil.Outcome
	troubles map[string][]rollout.Trouble // by application
}

// run waits and reports how the applications stand, also when it is ended: only wrong flags have no report.
func (f *waitFlags) run(ctx context.Context, c *cli.Console, args []string) (err error) {
	w := waiting{waitFlags: f, console: c, commit: f.revision}
	if w.names, err = f.names(args); err == nil {
		err = w.wait(ctx)
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case fault.KindOf(err) == fault.Usage:
		return err
	default:
		w.look(ctx)
	}
	return cmp.Or(w.report(err), err)
}

func (w *waiting) wait(ctx context.Context) (err error) {
	var hook *argoapi.Webhook
	if w.argo, hook, err = w.dial(w.console); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	defer func() {
		if errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil {
			err = &fault.Error{Kind: fault.Gate, What: fmt.Sprintf("the time is up after %v", w.timeout), Hint: "allow more with --timeout", Err: err}
		}
	}()
	past, err := w.past(limited, w.console)
	if err != nil {
		return err
	}
	defer past.close()
	w.commit = past.commit
	if w.allChanged {
		if w.names, err = past.touched(limited, w.console); err != nil {
			return err
		}
	}
	if len(w.names) == 0 {
		w.console.Progressf("%.7s touches nothing that an application deploys", w.commit)
		return nil
	}
	if hook != nil {
		if err := past.announce(limited, hook); err != nil {
			return err
		}
	}
	w.console.Progressf("waiting for %.7s in %s", w.commit, few(strings.Join(w.names, ", ")))
	v := vigil.Vigil{
		Server: w.argo, Commit: w.commit, Applications: w.names, Namespace: w.namespace, Declared: w.allChanged, Announced: hook != nil,
		Retries: w.retries, Branch: past.branchName(), Place: past.place(), Relation: func(revision string) rollout.Relation { return past.relation(limited, revision) },
		Tell: func(o vigil.Outcome) { w.console.Progressf("%s", told(o)) },
	}
	w.outcomes, err = v.Keep(limited)
	return cmp.Or(err, w.verdict(w.outcomes, w.commit))
}

// names are the applications that were asked for, each once.
func (f *waitFlags) names(args []string) ([]string, error) {
	switch {
	case f.timeout <= 0:
		return nil, fault.Usagef("for example: --timeout 10m", "--timeout %v leaves no time", f.timeout)
	case f.retries < 0 || f.logLines < 0:
		return nil, fault.Usagef("0 is the least", "--sync-retries and --log-lines count something")
	case f.webhookSecretFile != "" && f.webhook == "":
		return nil, fault.Usagef("add --refresh-webhook https://HOST/api/webhook", "--refresh-webhook-secret-file has nothing to sign")
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

// dial is the way to Argo CD, and to its webhook if it is to be told. Nothing is sent yet.
func (f *waitFlags) dial(c *cli.Console) (argo, *argoapi.Webhook, error) {
	address := cmp.Or(f.server, c.Getenv("ARGOCD_SERVER"))
	if f.caFile != "" && address == "" && f.webhook == "" {
		return nil, nil, fault.Usagef("add --argocd-server; the cluster's API is trusted as the kubeconfig says", "--argocd-ca-file is for --argocd-server")
	}
	roots, err := trust.Roots(f.caFile)
	if err != nil {
		return nil, nil, err
	}
	hook, err := f.hook(c, roots)
	if err != nil {
		return nil, nil, err
	}
	if address == "" {
		cluster, err := kube.Open(c.Getenv, c.Agent())
		if err != nil {
			return nil, nil, err
		}
		return &argoapi.Cluster{API: cluster, Namespace: f.namespace, Warn: func(text string) { c.Warnf("", 0, "%s", text) }}, hook, nil
	}
	token := c.Getenv("ARGOCD_AUTH_TOKEN")
	if token != "" {
		c.Workflow.Mask(token)
	}
	server, err := argoapi.OpenREST(argoapi.Options{Address: address, Token: token, Roots: roots, Agent: c.Agent()})
	return server, hook, err
}

// hook is the webhook that is to be told of the commit, nil for none.
func (f *waitFlags) hook(c *cli.Console, roots *x509.CertPool) (*argoapi.Webhook, error) {
	if f.webhook == "" {
		return nil, nil
	}
	secret := c.Getenv("IMGBUMP_ARGOCD_WEBHOOK_SECRET")
	if f.webhookSecretFile != "" {
		var err error
		if secret, err = secretIn("--refresh-webhook-secret-file", f.webhookSecretFile); err != nil {
			return nil, err
		}
	}
	if secret != "" {
		c.Workflow.Mask(secret)
	}
	return argoapi.OpenWebhook(argoapi.Options{Address: f.webhook, Token: secret, Roots: roots, Agent: c.Agent()})
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
