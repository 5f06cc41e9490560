package main

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/without"
)

const pageToken = "t0ken-of-the-page"

// acting serves with a page from which rounds can be begun.
func (f *fleet) acting(args ...string) *serving {
	f.t.Helper()
	return f.serve(append([]string{"--ui-actions", "IMGBUMP_UI_TOKEN=" + pageToken}, args...)...)
}

// again has a round for all images, and waits for it.
func (s *serving) again() {
	s.t.Helper()
	if code := s.act("update", pageToken, url.Values{"target": {"gitops"}}); code/100 > 3 {
		s.t.Fatalf("update: %d", code)
	}
	s.sees("msg=round ", "images=all")
}

// push pushes an image, and has the process hear of it.
func (s *serving) push(f *fleet, image, tag string) {
	s.t.Helper()
	if code := s.hook(hookSecret, f.push(image, tag)); code/100 != 2 {
		s.t.Fatalf("a webhook: %d", code)
	}
}

// commit has somebody else put a file on the branch.
func (f *fleet) commit(name, text string) {
	f.t.Helper()
	if _, err := f.repository.Commit("main", "somebody's", fstest.MapFS{name: &fstest.MapFile{Data: []byte(text)}}); err != nil {
		f.t.Fatal(err)
	}
}

// onGitHub is the fleet's repository on GitHub, and what a process has to be told of it.
func (f *fleet) onGitHub() (*githubtest.Repository, []string) {
	hub := githubtest.New()
	project := hub.Add("team/gitops", f.repository.Dir)
	hub.Allow("t0ken", githubtest.Grant{Login: "bot"})
	web := httptest.NewServer(hub)
	f.t.Cleanup(web.Close)
	return project, []string{"GITHUB_TOKEN=t0ken", "GITHUB_API_URL=" + web.URL, "GITHUB_SERVER_URL=" + f.git.URL}
}

// Whatever is pushed, and however often it looks, there is one pull request with all that is newer, until somebody closes it.
// The page tells what the branch has, and not what is proposed.
func TestServeProposes(t *testing.T) {
	f := newFleet(t, 3)
	project, args := f.onGitHub()
	s := f.acting(append(args, "--pr")...)
	s.push(f, "app0", "1.1.0")
	s.sees("image changed", "pull_request=http", "app0:1.1.0")
	s.push(f, "app1", "1.2.0")
	s.sees("image changed", "app1:1.2.0")
	s.again()
	pulls := project.Pulls()
	if len(pulls) != 1 || pulls[0].State != "open" {
		t.Fatalf("%d pull requests: %+v", len(pulls), pulls)
	}
	text, err := f.repository.File(pulls[0].Head, "values.yaml")
	if err != nil || !strings.Contains(text, "app0:1.1.0") || !strings.Contains(text, "app1:1.2.0") {
		t.Errorf("%v: it proposes\n%s", err, text)
	}
	if image := s.target().Images[0]; image.Newest != "1.1.0" || image.Places[0].Current != "1.0.0" {
		t.Errorf("the branch still has 1.0.0: %+v", image)
	}
	commits := len(s.target().Commits)
	s.again()
	if n := len(s.target().Commits); n != commits {
		t.Errorf("nothing is new, and there are %d commits after %d", n, commits)
	}

	pulls[0].State = "closed"
	s.again()
	if n := len(project.Pulls()); n != 1 {
		t.Errorf("one that somebody closed is opened again: %d", n)
	}
	if hold := s.target().Images[0].Places[0].Hold; !strings.Contains(hold, "somebody closed https://github.example.com/team/gitops/pull/1") {
		t.Errorf("why nothing is proposed: %q", hold)
	}
	f.gone("app1", true)
	s.again()
	if n := len(project.Pulls()); n != 1 {
		t.Errorf("what is left of it while a registry is down is no other proposal: %d", n)
	}
	f.gone("app1", false)
	s.push(f, "app0", "1.3.0")
	s.sees("image changed", "app0:1.3.0")
	if n := len(project.Pulls()); n != 2 {
		t.Errorf("something newer is another proposal: %d", n)
	}
}

// What is the matter is told when it begins, and again when it comes back; not in every round.
func TestServeTellsOnce(t *testing.T) {
	f := newFleet(t, 2)
	s := f.acting()
	const left = `msg="an image was left alone"`
	f.gone("app1", true)
	for range 3 {
		s.again()
	}
	if n := strings.Count(s.log(), left); n != 1 || !strings.Contains(s.log(), "imgbump.yaml:4") {
		t.Errorf("it is told %d times:\n%s", n, s.log())
	}
	f.gone("app1", false)
	s.again()
	s.again()
	f.gone("app1", true)
	s.again()
	if n := strings.Count(s.log(), left); n != 2 {
		t.Errorf("it is told %d times:\n%s", n, s.log())
	}
}

// A list that is as it was is not sent again.
func TestServeRemembersLists(t *testing.T) {
	f := newFleet(t, 3)
	s := f.acting()
	s.again()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unchanged != 3 {
		t.Errorf("%d lists are as they were", f.unchanged)
	}
}

// Rounds leave no connections behind.
func TestServeConnections(t *testing.T) {
	f := newFleet(t, 20)
	s := f.acting()
	files := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
		if err != nil {
			without.Skip(t, "/proc: "+err.Error())
		}
		return len(entries)
	}
	before := files()
	for range 10 {
		s.again()
	}
	if after := files(); after > before+10 {
		t.Errorf("%d open files after ten rounds, %d before", after, before)
	}
}

// A policy that is gone keeps no other image from being updated.
func TestServePolicyGone(t *testing.T) {
	f := newFleet(t, 3)
	s := f.serve("--window", "1s")
	text, err := f.repository.File("main", "imgbump.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(text, "\n")
	f.commit("imgbump.yaml", strings.Join(append(lines[:2], lines[3:]...), "")) // without app0
	s.push(f, "app0", "1.1.0")
	s.push(f, "app1", "1.1.0")
	s.sees("msg=round ", "events=2", "commits=1")
	if got := f.says(); got["app0"] != "1.0.0" || got["app1"] != "1.1.0" {
		t.Error(got)
	}
}

// A configuration that somebody broke is told of with its place, and all goes on when it is mended.
func TestServeBrokenConfig(t *testing.T) {
	f := newFleet(t, 2)
	s := f.acting()
	whole, err := f.repository.File("main", "imgbump.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f.commit("imgbump.yaml", "version: 1\nimages:\n  - {name: [\n")
	s.push(f, "app1", "1.1.0")
	s.sees("round failed", "imgbump.yaml:3: ")
	if target := s.target(); !strings.Contains(target.Err, "imgbump.yaml:3: ") || len(target.Images) != 2 {
		t.Errorf("%+v", target)
	}
	f.commit("imgbump.yaml", whole)
	s.again()
	f.isCurrent()
	if target := s.target(); target.Err != "" {
		t.Error(target.Err)
	}
}

// History that was rewritten, and a repository that was made anew, are a tip like any other.
func TestServeRewritten(t *testing.T) {
	f := newFleet(t, 2)
	s := f.serve()
	s.push(f, "app0", "1.1.0")
	s.sees("msg=round ", "commits=1")
	f.git1("update-ref", "refs/heads/main", f.git1("rev-list", "--max-parents=0", "main"))
	s.push(f, "app1", "1.1.0")
	s.sees("msg=round ", "commits=1")
	if got := f.says(); got["app1"] != "1.1.0" {
		t.Error(got)
	}
	if err := os.Rename(f.repository.Dir, f.repository.Dir+".gone"); err != nil {
		t.Fatal(err)
	}
	s.push(f, "app0", "1.2.0")
	s.sees("round failed", "no such repository")
	if err := os.Rename(f.repository.Dir+".gone", f.repository.Dir); err != nil {
		t.Fatal(err)
	}
	s.sees("msg=round ", "commits=1")
	f.isCurrent()
	if err := f.repository.Fsck(); err != nil {
		t.Error(err)
	}
}

// SIGTERM in the middle of a push: who asks is told at once that it is about to stop, and the push ends.
func TestServeStopsInPush(t *testing.T) {
	f := newFleet(t, 2)
	s := f.serve()
	begun, may := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "may")
	if err := f.repository.Hook("pre-receive", fmt.Sprintf("#!/bin/sh\necho > %s\nwhile ! test -e %s; do sleep 0.05; done\n", begun, may)); err != nil {
		t.Fatal(err)
	}
	s.push(f, "app0", "1.1.0")
	until(t, func() bool { _, err := os.Stat(begun); return err == nil })
	if code := s.code("/readyz"); code != 200 {
		t.Errorf("ready: %d", code)
	}
	s.term()
	until(t, func() bool { return s.code("/readyz") == 503 })
	if code := s.code("/healthz"); code != 200 {
		t.Errorf("it is in good health: %d", code)
	}
	if err := os.WriteFile(may, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("it ended with %d\n%s", code, s.log())
	}
	f.isCurrent()
}

// A commit that is there counts, although no pull request could be opened for it.
func TestServeUnproposed(t *testing.T) {
	f := newFleet(t, 2)
	_, args := f.onGitHub()
	s := f.serve(append(args, "--pr", "--pr-reviewer", "nobody")...)
	s.push(f, "app0", "1.1.0")
	s.sees("round failed", "commits=1")
	if target := s.target(); target.Err == "" || len(target.Commits) != 1 {
		t.Errorf("%+v", target)
	}
}

// Over SSH a connection may end between two rounds, or stay.
func TestServeSSH(t *testing.T) {
	f := newFleet(t, 2)
	key := filepath.Join(t.TempDir(), "key")
	public, err := gittest.Keygen(key)
	if err != nil {
		t.Fatal(err)
	}
	ssh, err := f.git.SSH(public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ssh.Close() })
	hosts := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(hosts, []byte(ssh.KnownHosts), 0o600); err != nil {
		t.Fatal(err)
	}
	s := f.begin("--repo", ssh.URL(f.repository), "--branch", "main", "--ssh-key", key, "--known-hosts", hosts)
	s.sees("msg=round ", "images=all")
	s.push(f, "app0", "1.1.0")
	s.sees("msg=round ", "commits=1")
	ssh.Drop()
	s.push(f, "app0", "1.2.0")
	s.sees("msg=round ", "commits=1")
	f.isCurrent()
}
