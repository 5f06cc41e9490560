package main

import (
	"os"
	"path/filepath"

	"github.com/ksera524/imgbump/internal/gittest"
)

// push compares a bump that is committed and pushed from a checkout with the shell's way, each in a repository of its own
// on the same server.
func (b *bench) push() error {
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	ours, err := b.checkout(server, "ours")
	if err != nil {
		return err
	}
	theirs, err := b.checkout(server, "theirs")
	if err != nil {
		return err
	}
	bump := b.set(ours, 1, 1, "--push")
	bump.before = func() error { // as in a workflow: the checkout is at the branch's tip
		_, err := gittest.Git(ours, "pull", "--quiet", "--ff-only")
		return err
	}
	name := repository(one)
	costs, err := b.measure(bump, shell(theirs, "find . -name '*.yaml' -print0 | xargs -0 sed -i 's|"+name+":[^ ]*|"+name+":%s|'"+
		" && git add --all && git commit --quiet -m bump && git push --quiet", version))
	if err != nil {
		return err
	}
	row("1 image, checkout of 20,000 files: set --push", costs[0].time, "sed -i, git add, commit, push", costs[1].time, target{})
	return nil
}

// checkout clones a new repository that holds the tree.
func (b *bench) checkout(server *gittest.Server, name string) (string, error) {
	repository, err := server.Create(name + ".git")
	if err != nil {
		return "", err
	}
	if _, err := repository.Commit("main", "start", os.DirFS(filepath.Join(b.dir, "tree"))); err != nil {
		return "", err
	}
	dir := filepath.Join(b.dir, name)
	_, err = gittest.Git("", "clone", "--quiet", repository.URL, dir)
	return dir, err
}
