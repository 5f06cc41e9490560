package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
)

const writers, bumps = 16, 5

// race has many writers bump an image of their own each, all on one branch.
func (b *bench) race() error {
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	template, err := b.template(server, 5_000)
	if err != nil {
		return err
	}
	ours, err := copyOf(server, template, "ours")
	if err != nil {
		return err
	}
	theirs, err := copyOf(server, template, "theirs")
	if err != nil {
		return err
	}
	quick, err := b.write(ours, func(_, folder, name string) string {
		return fmt.Sprintf("%s set --quiet --repo %s --path %s %s:$n", b.imgbump, ours.URL, folder, name)
	})
	if err != nil {
		return err
	}
	slow, err := b.write(theirs, func(clone, folder, name string) string {
		return fmt.Sprintf("cd %[1]s; sed -i 's|%[3]s:[^ ]*|%[3]s:'$n'|' %[2]s/deployment.yaml; git commit --quiet --all --message=bump; "+
			"until git pull --quiet --rebase && git push --quiet; do :; done 2>/dev/null", clone, folder, name)
	})
	if err != nil {
		return err
	}
	row(fmt.Sprintf("race, %d writers x %d bumps: set --repo --path", writers, bumps), quick, "loops of pull --rebase && push", slow, target{atLeast: 4})
	return nil
}

// write has all writers run a shell line for each of their bumps, $n, and checks that nothing was lost. Each has a clone.
func (b *bench) write(r *gittest.Repository, line func(clone, folder, name string) string) (time.Duration, error) {
	var lines []string
	for i := range writers {
		app := one + i
		clone := filepath.Join(b.dir, fmt.Sprintf("writer-%d-of-%s", i, filepath.Base(r.Dir)))
		if _, err := gittest.Git("", "clone", "--quiet", "--depth=1", r.URL, clone); err != nil {
			return 0, err
		}
		folder := fmt.Sprintf("apps/team-%02d/app-%05d", app%50, app)
		lines = append(lines, fmt.Sprintf("n=0; while [ $n -lt %d ]; do n=$((n+1)); %s; done", bumps, line(clone, folder, repository(app))))
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	start := time.Now()
	for i, line := range lines {
		wg.Go(func() {
			cmd := exec.CommandContext(b.ctx, "sh", "-ec", line)
			cmd.Dir, cmd.Env = b.dir, gittest.Env()
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("%s: %w: %s", line, err, out)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	for i := range writers {
		app := one + i
		content, err := r.File("main", fmt.Sprintf("apps/team-%02d/app-%05d/deployment.yaml", app%50, app))
		if want := fmt.Sprintf("%s:%d", repository(app), bumps); err != nil || !strings.Contains(content, want) {
			return 0, fmt.Errorf("the race lost %s: %w", want, err)
		}
	}
	return took, r.Fsck()
}
