package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/metrics"
	"github.com/ksera524/imgbump/internal/reconcile"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/status"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const serveAbout = `Keep branches up to date: 'imgbump update' as a service.

It looks at all images when it starts and then every --interval, and at once when a registry's webhook
says that one was pushed: POST /webhook?type=harbor. What is pushed within --window becomes one commit.
Nothing is kept on disk: after a restart everything is looked at again, and a push that loses a race is
decided again on the new tip, so that several replicas do no harm; with --lease one of them writes.

  /             what is up to date, what is not, and why; /status.json the same as JSON
  /webhook      registries tell of pushes; each type needs a secret
  /metrics      for Prometheus
  /healthz, /readyz

A branch is named with --repo and --branch. Several are targets: those of the imgbump.yaml in --repo with
--all-targets or --target, or those of a file of that form with --config, where each names its repo.`

const serveEnvironment = `  IMGBUMP_WEBHOOK_SECRET_TYPE
                     secret of the webhooks of a type: IMGBUMP_WEBHOOK_SECRET_HARBOR
  IMGBUMP_UI_TOKEN   token that --ui-actions asks for
  POD_NAME, POD_IP   defaults of --identity and --address
`

const serveExamples = `  # one branch, on a laptop
  imgbump serve --repo https://github.com/team/gitops.git --branch main

  # one look, as a CronJob has it
  imgbump serve --repo https://github.com/team/gitops.git --branch main --once

  # several repositories; two replicas on Kubernetes
  imgbump serve --config /etc/imgbump/imgbump.yaml --lease imgbump/imgbump`

// serveFlags are the flags of serve, as typed.
type serveFlags struct {
	jobFlags
	paths  []string
	config string

	interval, window time.Duration
	once             bool
	logFormat        string
	http             httpFlags
	lease            leaseFlags
}

func serveCommand(c *cli.Console) *cobra.Command {
	var f serveFlags
	job := bump.Job{Updates: &bump.Updates{}, Owners: true}
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "Keep branches up to date: update as a service",
		Long:    serveAbout + "\n\n" + setEnvironment + cacheEnvironment + serveEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: serveExamples,
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if job.Paths, err = limits(f.paths); err != nil {
				return err
			}
			job.Updates.Pin, job.IgnoreHold, job.AllOrNothing = bump.Pin(f.registry.pin), f.ignoreHold, f.allOrNothing
			return f.run(cmd.Context(), c, job)
		},
	}
	flags := cmd.Flags()
	f.bindServe(flags, &job)
	cli.Group(flags, "HTTP", f.http.bind)
	cli.Group(flags, "Replica", f.lease.bind)
	cli.Group(flags, "Git", func(flags *pflag.FlagSet) {
		f.git.bindTargets(flags)
		flags.StringVar(&f.git.branch, "branch", "", "`BRANCH` of --repo to push to (default: the repository's own)")
		flags.StringVar(&f.config, "config", "", "keep the targets of a `FILE` up to date that has the form of imgbump.yaml; each names its repo")
		f.git.bindCommits(flags)
	})
	f.registry.bindUpdate(flags, job.Updates)
	return cmd
}

// bindServe binds the flags that say what is looked at, and when.
func (f *serveFlags) bindServe(flags *pflag.FlagSet, job *bump.Job) {
	flags.StringVar(&f.root, "root", ".", "folder `DIR` of the repositories that holds the manifests")
	flags.StringArrayVar(&f.paths, "path", nil, "limit the search to `PATH`, a file or folder below --root (repeatable)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "decide and show, but commit nothing")
	flags.BoolVar(&f.allOrNothing, "all-or-nothing", false, "change nothing when any image cannot be set")
	flags.BoolVar(&f.ignoreHold, "ignore-hold", false, "change places too that imgbump.yaml or a comment 'imgbump: hold' holds back")
	flags.BoolVar(&job.VersionLabel, "version-label", false, "let the label app.kubernetes.io/version of the same object follow the tag")
	bindApplications(flags, &job.Applications)
	bindInclude(flags, &job.Include)
	flags.DurationVar(&f.interval, "interval", 5*time.Minute, "`TIME` from one look at all images to the next, give or take a tenth")
	flags.DurationVar(&f.window, "window", 2*time.Second, "`TIME` for which pushes are gathered before they become a commit")
	flags.BoolVar(&f.once, "once", false, "look at all images once, and end")
	flags.StringVar(&f.logFormat, "log-format", "text", "`FORMAT` of the log on stderr: text or json")
}

// run serves until the context ends, or looks once.
func (f *serveFlags) run(ctx context.Context, c *cli.Console, job bump.Job) error {
	if err := f.check(c); err != nil {
		return err
	}
	log := f.logger(c)
	keepers, err := f.keepers(ctx, c, log, job)
	if err != nil {
		return f.unserved(c, err)
	}
	defer func() {
		for _, k := range keepers {
			k.close()
		}
	}()
	var targets []reconcile.Target
	var shown []status.Target
	for _, k := range keepers {
		targets = append(targets, reconcile.Target{Name: k.name, Round: k.round})
		shown = append(shown, k.shown())
	}
	board := status.NewBoard(time.Now(), shown...)
	counts := metrics.New(cli.Recorded(), board)
	for _, k := range keepers {
		k.flags.registry.observe, k.flags.git.observe = counts.RegistryRequest, counts.GitRequest
	}
	loop := &reconcile.Loop{Targets: targets, Board: board, Window: f.window, Interval: f.interval, Log: log, Observe: counts.Round}
	if f.once {
		return look(ctx, c, loop, keepers)
	}
	debug.SetGCPercent(50) // a service is idle most of the time, and is to be small then
	s := service{flags: &f.http, lease: &f.lease, loop: loop, board: board, metrics: counts, keepers: keepers, log: log}
	return s.run(ctx, c)
}

// check refuses what contradicts itself or comes to nothing.
func (f *serveFlags) check(c *cli.Console) error {
	f.git.remote = "origin"
	switch {
	case f.config == "" && f.git.repo == "":
		return fault.Usagef("name --repo, or --config", "nothing says which repository is kept up to date")
	case f.config != "" && (f.git.repo != "" || f.git.branch != "" || f.git.toTargets()):
		return fault.Usagef("leave the others away", "--config says which branches are kept up to date")
	case f.git.branch != "" && f.git.toTargets():
		return fault.Usagef("leave --branch away", "imgbump.yaml says to which branch a target goes")
	case f.interval < 10*time.Second:
		return fault.Usagef("for example: --interval 5m", "--interval %v is less than 10s", f.interval)
	case f.window < 0 || f.window > f.interval:
		return fault.Usagef("for example: --window 2s", "--window %v is no time below --interval", f.window)
	case f.dryRun && f.http.actions:
		return fault.Usagef("leave one of them away", "what people hold by --ui-actions is a commit, and --dry-run makes none")
	case c.JSON() && !f.once:
		return fault.Usagef("the log is JSON with --log-format json, and /status.json is the document", "--format json is for --once: a service has no result")
	case f.logFormat != "text" && f.logFormat != "json":
		return fault.Usagef("it is text or json", "--log-format %s is unknown", f.logFormat)
	case f.registry.access.ReadsStdin() || f.git.login.ReadsStdin():
		return fault.Usagef("name a file, or set the variable", "standard input can be read once, and a service logs in again and again")
	}
	if err := f.jobFlags.check(nil); err != nil {
		return err
	}
	if err := f.lease.check(c, f.http.listen); err != nil {
		return err
	}
	return f.http.check(c)
}

// logger writes records to stderr.
func (f *serveFlags) logger(c *cli.Console) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level(), ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration { // people read it, in JSON too
			a.Value = slog.StringValue(a.Value.Duration().Round(time.Millisecond).String())
		}
		return a
	}}
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.Err, options))
	}
	return slog.New(slog.NewTextHandler(c.Err, options))
}

// keepers are those of all targets.
func (f *serveFlags) keepers(ctx context.Context, c *cli.Console, log *slog.Logger, job bump.Job) ([]*upkeep, error) {
	targets, err := f.served(ctx, c)
	if err != nil {
		return nil, err
	}
	var all []*upkeep
	for _, target := range targets {
		u := &upkeep{flags: f.jobFlags, target: target, name: target.Name}
		u.flags.registry.lists = &registry.Lists{}
		if u.flags.git.repo == "" {
			u.flags.git.repo = targets[0].Repo // whose host IMGBUMP_TOKEN is for
		}
		if u.job, err = bounded(job, target); err != nil {
			return nil, err
		}
		if u.name == "" {
			u.name = nameOf(f.git.repo)
		}
		u.said = &sayings{}
		u.log = slog.New(once{Handler: log.Handler(), said: u.said}).With("target", u.name)
		u.c = c.Logging(u.log)
		all = append(all, u)
	}
	return all, checked(ctx, all)
}

// checked is what is wrong with all targets, and therefore with the flags. One that is wrong by itself is told of by its rounds,
// for it must not keep the others from being updated.
func checked(ctx context.Context, keepers []*upkeep) (err error) {
	for _, k := range slices.Backward(keepers) {
		if err = k.check(ctx); err == nil {
			return nil
		}
	}
	return err
}

// unserved is the end of a run that does not know its targets.
func (f *serveFlags) unserved(c *cli.Console, err error) error {
	if f.once && fault.KindOf(err) != fault.Usage {
		nothing, _ := status.NewBoard(time.Now()).Snapshot()
		return cmp.Or(c.Print(serveStatus(nothing), ""), err)
	}
	return err
}

// served are the targets that the flags name.
func (f *serveFlags) served(ctx context.Context, c *cli.Console) ([]config.Target, error) {
	switch {
	case f.config != "":
		return fromFile(f.config)
	case !f.git.toTargets():
		return []config.Target{{Branch: f.git.branch}}, nil
	}
	w, err := f.git.open(ctx, c, f.root)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(ctx, f.git.timeout)
	defer cancel()
	targets, err := f.git.named(ctx, w)
	return targets, f.inTime(ctx, err)
}

// fromFile are the targets of a file.
func fromFile(name string) ([]config.Target, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Usage, What: "read the targets", Err: err}
	}
	const hint = "for example: targets: [{name: prod, repo: https://github.com/team/gitops.git, branch: main}]"
	parsed, problems, _ := config.Parse(data)
	switch {
	case len(problems) > 0:
		return nil, fault.Usagef(problems[0].Hint, "%s:%d: %s", name, problems[0].Line, problems[0].Text)
	case len(parsed.Targets) == 0:
		return nil, fault.Usagef(hint, "%s has no targets", name)
	}
	if parsed.Images != nil || parsed.Registries != nil || parsed.Rules.Fields != nil {
		return nil, fault.Usagef("the imgbump.yaml of each repository says the rest", "%s: only targets count here", name)
	}
	for _, t := range parsed.Targets {
		if t.Repo == "" {
			return nil, fault.Usagef(hint, "%s:%d: target %s names no repo", name, t.Line, t.Name)
		}
	}
	return parsed.Targets, nil
}

// look looks once at everything, and prints what came of it.
func look(ctx context.Context, c *cli.Console, loop *reconcile.Loop, keepers []*upkeep) error {
	var outcomes []outcome
	for i, r := range loop.Once(ctx) {
		outcomes = append(outcomes, outcome{target: keepers[i].name, err: cmp.Or(r.Err, keepers[i].verdict)})
	}
	snapshot, _ := loop.Board.Snapshot()
	commits := slices.ContainsFunc(snapshot.Targets, func(t status.Target) bool { return len(t.Commits) > 0 })
	err := together(outcomes)
	if fault.KindOf(err) == fault.Usage && !commits {
		return err
	}
	if printing := c.Print(serveStatus(snapshot), outlined(snapshot)); printing != nil {
		return printing
	}
	return err
}
