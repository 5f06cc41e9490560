package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ksera524/imgbump/internal/gittest"
)

// pushes compares commits that are pushed with the shell's way, each in a repository of its own on the same server.
func (b *bench) pushes() error {
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	for _, files := range []int{20_000, 100_000} {
		template, err := b.template(server, files)
		if err != nil {
			return err
		}
		if err := b.fromCheckout(server, template, files); err != nil {
			return err
		}
		if err := b.withoutCheckout(server, template, files); err != nil {
			return err
		}
	}
	return nil
}

// where is the folder of the application that is bumped: both sides know it.
var where = fmt.Sprintf("apps/team-%02d/app-%05d", one%50, one)

// template is a repository with a tree of so many files. Git makes its commit, in a process of its own: the memory of this
// one would count as that of those it starts.
func (b *bench) template(server *gittest.Server, files int) (*gittest.Repository, error) {
	tree := filepath.Join(b.dir, fmt.Sprint(files))
	if err := makeTree(tree, files); err != nil {
		return nil, err
	}
	r, err := server.Create(fmt.Sprintf("template-%d.git", files))
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--message=start"}, {"repack", "-adq"}} {
		if _, err := gittest.Git(tree, append([]string{"--git-dir=" + r.Dir, "--work-tree=.", "-c", "core.bare=false"}, args...)...); err != nil {
			return nil, err
		}
	}
	return r, os.RemoveAll(tree)
}

// copyOf is another repository with the same content.
func copyOf(server *gittest.Server, template *gittest.Repository, name string) (*gittest.Repository, error) {
	r, err := server.Create(fmt.Sprintf("%s-of-%s", name, filepath.Base(template.Dir)))
	if err != nil {
		return nil, err
	}
	_, err = gittest.Git(r.Dir, "fetch", "--quiet", template.Dir, "main:main")
	return r, err
}

// cloned is a depth-1 checkout of a copy of the template.
func (b *bench) cloned(server *gittest.Server, template *gittest.Repository, name string) (string, error) {
	r, err := copyOf(server, template, name)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.dir, filepath.Base(r.Dir))
	_, err = gittest.Git("", "clone", "--quiet", "--depth=1", r.URL, dir)
	return dir, err
}

// publish is what follows sed in the shell's way.
const publish = " && git add %s && git commit --quiet -m bump && git push --quiet"

// sedIn is the shell's way in a checkout, for somebody who knows the file.
func sedIn(dir, before string) command {
	file := where + "/deployment.yaml"
	return shell(dir, before+"sed -i 's|"+repository(one)+":[^ ]*|"+repository(one)+":%s|' "+file+fmt.Sprintf(publish, file), version)
}

func (b *bench) fromCheckout(server *gittest.Server, template *gittest.Repository, files int) error {
	var dirs []string
	for _, name := range []string{"alone", "following", "shell"} {
		dir, err := b.cloned(server, template, name)
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dirs = append(dirs, dir)
	}
	if _, err := gittest.Git(dirs[0], "checkout", "--quiet", "--detach"); err != nil {
		return err
	}
	alone := b.set(dirs[0], 1, 1, "--push", "--branch", "main", "--path", where)
	alone.before = func() error { // as in a workflow: the checkout is at the branch's tip
		if _, err := gittest.Git(dirs[0], "fetch", "--quiet", "--depth=1", "origin", "main"); err != nil {
			return err
		}
		_, err := gittest.Git(dirs[0], "reset", "--quiet", "--hard", "FETCH_HEAD")
		return err
	}
	costs, err := b.measure(alone, b.set(dirs[1], 1, 1, "--push", "--path", where), sedIn(dirs[2], ""))
	if err != nil {
		return err
	}
	what := fmt.Sprintf("checkout of %d files", files)
	row(what+" left alone: set --push --path", costs[0].time, "sed -i FILE, git add, commit, push", costs[2].time, target{atLeast: 2})
	row(what+" following: the same", costs[1].time, "the same", costs[2].time, target{atLeast: 1.2})
	return nil
}

func (b *bench) withoutCheckout(server *gittest.Server, template *gittest.Repository, files int) error {
	var urls []string
	for _, name := range []string{"narrow", "wide", "cloned"} {
		r, err := copyOf(server, template, name)
		if err != nil {
			return err
		}
		urls = append(urls, r.URL)
	}
	clone := filepath.Join(b.dir, "clone")
	theirs := sedIn(b.dir, "git clone --quiet --depth=1 "+urls[2]+" clone && cd clone && ")
	theirs.before = func() error { return os.RemoveAll(clone) }
	narrow := b.set(b.dir, 1, 1, "--repo", urls[0], "--path", where)
	narrow.before = theirs.before
	costs, err := b.measure(narrow, b.set(b.dir, 1, 1, "--repo", urls[1]), theirs)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(clone); err != nil {
		return err
	}
	what, atLeast := fmt.Sprintf("no checkout, %d files", files), 8.0
	if files > 20_000 {
		atLeast = 6
	}
	row(what+": set --repo --path", costs[0].time, "git clone --depth 1, then the same", costs[2].time, target{atLeast: atLeast})
	row(what+": set --repo", costs[1].time, "the same, which knows its file", costs[2].time, target{atLeast: 1})
	if files > 20_000 {
		limit(what+": memory with --path", costs[0].memory, 64)
		limit(what+": memory", costs[1].memory, 160)
	}
	return nil
}

// limit prints what a command held of memory.
func limit(what string, memory, megabytes int64) {
	fmt.Printf(format, what, fmt.Sprintf("%d MB", memory>>20), "", "", "", fmt.Sprintf("< %d MB", megabytes), verdict("<", memory < megabytes<<20))
}
