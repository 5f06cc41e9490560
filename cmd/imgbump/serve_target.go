package main

import (
	"cmp"
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/status"
)

// connection is for how long a repository stays open: tokens of GitHub Apps last an hour, and what was fetched piles up.
const connection = 30 * time.Minute

// mostTold is how many failures of a round the log has: when a registry is down, each of its images fails.
const mostTold = 20

// upkeep keeps one target up to date.
type upkeep struct {
	flags  jobFlags
	target config.Target
	name   string
	job    bump.Job
	c      *cli.Console
	said   *sayings
	log    *slog.Logger

	mu      sync.Mutex // what it does it does one after the other
	verdict error      // of the last round, as update would have ended

	// While it is open: the repository, and where commits go.
	place  *workplace
	to     *destination
	branch *watched
	opened time.Time

	view view
	made map[string]bool // commits of the last round that had any, by ID and pull request
}

// watched is a branch that remembers where it was seen last. A commit of ours changes versions, and not who deploys what: the
// view holds for it too.
type watched struct {
	bump.Branch
	tip  string
	view *view
}

func (b *watched) Tip(ctx context.Context) (string, error) {
	tip, err := b.Branch.Tip(ctx)
	b.tip = cmp.Or(tip, b.tip)
	return tip, err
}

// has reports whether a commit was published upon the branch, and not upon that of a pull request.
func (b *watched) has(x bump.Commit) bool { return b != nil && x.Branch == b.Name() }

func (b *watched) Publish(ctx context.Context, parent string, commits []string) ([]string, error) {
	published, err := b.Branch.Publish(ctx, parent, commits)
	if err == nil && len(published) > 0 {
		b.tip = published[len(published)-1]
		if b.view.commit == parent {
			b.view.commit = b.tip
		}
	}
	return published, err
}

// check refuses what no round could do: what is wrong with flags, environment or address. No server is asked, as the context
// has ended.
func (u *upkeep) check(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	flags, updates := u.flags, bump.Updates{}
	err := flags.registry.prepareUpdate(ctx, u.c, &updates)
	if err == nil {
		_, err = updates.Open(nil)
	}
	if fault.KindOf(err) != fault.Usage {
		err = u.open(ctx, &flags, u.job)
	}
	u.close()
	if fault.KindOf(err) == fault.Usage {
		return err
	}
	return nil
}

// round chooses versions for the images, or for all, and makes the target name them.
func (u *upkeep) round(ctx context.Context, images []imageref.Ref) status.Round {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(images) == 0 {
		u.said.turn()
	}
	result, err := u.update(ctx, images)
	if len(images) > 0 && fault.KindOf(err) == fault.Usage { // one of them may have no policy any more, and the others have
		result, err = u.update(ctx, nil)
	}
	result.Commits = u.unknown(result.Commits)
	u.tell(result)
	r := u.view.round(result, u.branch)
	if u.verdict = err; err != nil {
		u.close()
		return status.Round{Commits: r.Commits, Err: err}
	}
	r.Branch = u.branch.Name()
	u.verdict = u.flags.verdict(result)
	r.Diagram = u.view.diagram
	debug.FreeOSMemory() // a tree and its policies are most of what there ever is, and nothing is left of them
	return r
}

// unknown are the commits that were not there before: what an open pull request proposes is found anew by each of them.
func (u *upkeep) unknown(commits []bump.Commit) (all []bump.Commit) {
	if len(commits) == 0 {
		return nil
	}
	known := u.made
	u.made = map[string]bool{}
	for _, x := range commits {
		key := x.SHA + " " + x.PullRequest
		if u.made[key] = true; !known[key] {
			all = append(all, x)
		}
	}
	return all
}

// mayPropose reports whether there may be pull requests. They are for all images: what one proposes is what its branch has, and a
// round for some images would take out all others, or open another one.
func (u *upkeep) mayPropose() bool {
	return u.flags.git.pr.open || u.flags.git.pr.onProtected == "pr" || u.target.PR
}

// update is update, in a way to the registries of its own.
func (u *upkeep) update(ctx context.Context, images []imageref.Ref) (bump.Result, error) {
	job, asked := u.job, u.job.Updates
	job.Updates = &bump.Updates{Pin: asked.Pin, Downgrade: asked.Downgrade, MinAge: asked.MinAge}
	flags := u.flags
	if err := flags.registry.prepareUpdate(ctx, u.c, job.Updates); err != nil {
		return bump.Result{}, err
	}
	if !u.mayPropose() {
		job.Updates.Images = images // now: whose registry they are from must not decide where the login goes
	}
	defer func() {
		if flags.registry.client != nil {
			flags.registry.client.Close()
		}
	}()
	return u.carryOut(ctx, &flags, job)
}

// hold holds an image back, or releases it, as a commit of its own.
func (u *upkeep) hold(ctx context.Context, hold bump.Hold) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := hold.Check(); err != nil {
		return err
	}
	job := u.job
	job.Updates, job.Hold = nil, &hold
	flags := u.flags
	result, err := u.carryOut(ctx, &flags, job)
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		u.close()
	}
	return err
}

// carryOut does the job and, when the branch has moved, looks at who deploys what there.
func (u *upkeep) carryOut(ctx context.Context, flags *jobFlags, job bump.Job) (bump.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, flags.git.timeout)
	defer cancel()
	if err := u.open(ctx, flags, job); err != nil {
		return bump.Result{}, flags.inTime(ctx, err)
	}
	result, err := flags.through(ctx, u.c, u.place, u.to, u.target, job)
	if err == nil {
		err = u.view.look(ctx, u, job)
	}
	return result, flags.inTime(ctx, err)
}

// open opens the repository, unless it is open. A round that proposes has branches of its own.
func (u *upkeep) open(ctx context.Context, flags *jobFlags, job bump.Job) (err error) {
	if u.place != nil && time.Since(u.opened) < connection && u.to.proposals == nil && u.to.otherwise == nil {
		return nil
	}
	u.close()
	if u.place, err = flags.git.open(ctx, u.c, flags.root); err != nil {
		return err
	}
	u.opened, u.place.several = time.Now(), u.target.Name != ""
	u.place.pages = &pages{asked: &flags.registry, silent: map[string]bool{}} // for pull requests
	if u.to, err = flags.aim(ctx, u.c, u.place, u.target, job); err != nil {
		return err
	}
	u.branch = &watched{Branch: u.to.branch, view: &u.view}
	u.to.branch = u.branch
	return nil
}

// close lets go of the repository; the next round opens it anew.
func (u *upkeep) close() {
	if u.place != nil {
		if err := u.place.Close(); err != nil {
			u.log.Debug(err.Error())
		}
	}
	u.place, u.to, u.branch = nil, nil, nil
}

// tell logs what the loop does not: each change, what could not be done, and what people should know.
func (u *upkeep) tell(result bump.Result) {
	changed := func(log *slog.Logger, message string, x bump.Change) {
		log.Info(message, "file", x.Site.File, "line", x.Line, "application", x.Application, "from", x.From.String(), "to", x.To.String(), "why", x.Why)
	}
	for _, commit := range result.Commits {
		log := u.log.With("commit", commit.SHA, "branch", commit.Branch)
		if commit.PullRequest != "" {
			log = log.With("pull_request", commit.PullRequest)
		}
		for _, x := range commit.Changes {
			changed(log, "image changed", x)
		}
	}
	if u.flags.dryRun {
		for _, x := range result.Changes {
			changed(u.log, "image would change", x)
		}
	}
	for i, x := range result.Failures {
		if i == mostTold {
			u.log.Warn("more images were left alone: the page has them all", "images", len(result.Failures)-i)
			break
		}
		u.log.Warn("an image was left alone", "where", whereFailed(x), "error", x.Err.Error(), "hint", fault.HintOf(x.Err))
	}
	for _, w := range result.Warnings {
		u.log.Warn(w.Text, "file", w.File, "line", w.Line)
	}
}

// shown is the target before anything is known of it.
func (u *upkeep) shown() status.Target {
	address := cmp.Or(u.target.Repo, u.flags.git.repo)
	return status.Target{Name: u.name, Repository: fault.Address(address), Branch: u.target.Branch, Page: webOf(address)}
}
