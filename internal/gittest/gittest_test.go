package gittest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/gittest"
)

func start(t *testing.T, options gittest.Options) *gittest.Server {
	t.Helper()
	s, err := gittest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCloneCommitPush(t *testing.T) {
	s := start(t, gittest.Options{Password: "s3cret"})
	r := must(s.Create("org/app.git"))(t)
	must(r.Commit("main", "first", fstest.MapFS{
		"a/one.yaml": {Data: []byte("image: x:1\n")},
		"run.sh":     {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"link":       {Data: []byte("a/one.yaml"), Mode: fs.ModeSymlink | 0o777},
	}))(t)

	dir := filepath.Join(t.TempDir(), "checkout")
	if _, err := gittest.Git("", "clone", "-q", r.URL, dir); err == nil {
		t.Error("cloned without a password")
	}
	url := strings.Replace(r.URL, "http://", "http://anybody:s3cret@", 1)
	must(gittest.Git("", "clone", "-q", url, dir))(t)
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "a/one.yaml" {
		t.Errorf("link: %q, %v", target, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), []byte(strings.Repeat("0123456789abcdef", 1<<17)), 0o644); err != nil {
		t.Fatal(err)
	}
	must(gittest.Git(dir, "add", "."))(t)
	must(gittest.Git(dir, "commit", "-q", "-m", "second"))(t)
	must(gittest.Git(dir, "-c", "http.postBuffer=1024", "-c", "core.compression=0", "push", "-q", "origin", "main"))(t)
	if got, want := must(r.Tip("main"))(t), strings.TrimSpace(must(gittest.Git(dir, "rev-parse", "HEAD"))(t)); got != want {
		t.Errorf("tip %s, pushed %s", got, want)
	}
	if got := must(r.File("main", "a/one.yaml"))(t); got != "image: x:1\n" {
		t.Errorf("file %q", got)
	}
	if err := r.Fsck(); err != nil {
		t.Error(err)
	}
}

func TestSomebodyPushesFirst(t *testing.T) {
	var r *gittest.Repository
	s := start(t, gittest.Options{BeforePush: func(name string) {
		if name != "app.git" {
			t.Errorf("name %q", name)
		}
		if _, err := r.Commit("main", "theirs", fstest.MapFS{"b": {Data: []byte("2")}}); err != nil {
			t.Error(err)
		}
	}})
	r = must(s.Create("app.git"))(t)
	must(r.Commit("main", "first", fstest.MapFS{"a": {Data: []byte("1")}}))(t)
	dir := filepath.Join(t.TempDir(), "checkout")
	must(gittest.Git("", "clone", "-q", r.URL, dir))(t)
	must(gittest.Git(dir, "commit", "-q", "--allow-empty", "-m", "ours"))(t)
	if _, err := gittest.Git(dir, "push", "-q"); err == nil {
		t.Error("the push won a race it should lose")
	}
	if got := must(r.File("main", "b"))(t); got != "2" {
		t.Errorf("b = %q", got)
	}
}

func TestHookRefuses(t *testing.T) {
	r := must(start(t, gittest.Options{}).Create("app.git"))(t)
	must(r.Commit("main", "first", fstest.MapFS{"a": {Data: []byte("1")}}))(t)
	if err := r.Hook("pre-receive", "echo GH006: protected >&2; exit 1"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "checkout")
	must(gittest.Git("", "clone", "-q", r.URL, dir))(t)
	must(gittest.Git(dir, "commit", "-q", "--allow-empty", "-m", "ours"))(t)
	if _, err := gittest.Git(dir, "push", "-q"); err == nil || !strings.Contains(err.Error(), "GH006") {
		t.Errorf("err = %v", err)
	}
}
