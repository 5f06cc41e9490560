package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/config"
)

// Different names give different parts of a branch's name, which git takes; those that can stand there stay as they are.
func TestSlug(t *testing.T) {
	seen := map[string]string{}
	for name, want := range map[string]string{
		"team/app": "team+app", "日本/a.yaml": "日本+a.yaml", "中国/a.yaml": "中国+a.yaml", "が": "が", "v1.2_3-x": "v1.2_3-x",
		"a/b.yaml": "a+b.yaml", "a+b.yaml": "", "a b.yaml": "", "a-b.yaml": "a-b.yaml", "localhost:5000/app": "", "a..b": "", "a...b": "",
		"a-b": "a-b", "x.lock": "", "x.": "", "a@{b": "", "a\xffb": "", "a\xfeb": "", "~^:?*[\\": "", "": "",
		strings.Repeat("a", 80): strings.Repeat("a", 80), strings.Repeat("a", 81): "", strings.Repeat("日", 27): "", strings.Repeat("日", 28): "",
	} {
		got := slug(name, 80)
		switch other, taken := seen[got]; {
		case taken:
			t.Errorf("%q and %q are both %s", name, other, got)
		case want != "" && got != want:
			t.Errorf("%q is %s, want %s", name, got, want)
		case len(got) > 80:
			t.Errorf("%q is %d bytes", got, len(got))
		}
		seen[got] = name
		if err := exec.Command("git", "check-ref-format", "refs/heads/imgbump/main+"+got).Run(); err != nil {
			t.Errorf("git does not take %s", got)
		}
	}
}

// A branch's own marks are told from those between the parts of a name.
func TestBase(t *testing.T) {
	if base("main") != "main" || base("release/1.x") != "release/1.x" {
		t.Error("a plain name does not stay as it is")
	}
	if a, b := base("main+team")+"+app", base("main")+"+team+app"; a == b {
		t.Errorf("%s means two things", a)
	}
}

// What a job is limited to tells its branches apart from those of others.
func TestWhere(t *testing.T) {
	stage := config.Target{Name: "stage", Paths: []string{"apps/stage", "apps/base"}}
	for _, tt := range []struct {
		target config.Target
		prefix string
		job    bump.Job
		want   string
	}{
		{config.Target{}, "", bump.Job{}, ""},
		{config.Target{}, "", bump.Job{Paths: []string{"."}}, ""},
		{config.Target{}, "home", bump.Job{}, "@+home"},
		{config.Target{}, "home", bump.Job{Paths: []string{"apps"}}, "@+home+apps"},
		{config.Target{}, "home", bump.Job{From: "apps", Paths: []string{"production"}}, "@+home"},
		{config.Target{}, "", bump.Job{Applications: []string{"b", "a"}}, "@" + hashed("/", "a", "b")},
		{config.Target{}, "", bump.Job{Paths: []string{"a", "b"}}, "@" + hashed("/a", "/b")},
		{stage, "", bump.Job{Paths: []string{"apps/base", "apps/stage"}}, "@stage"},
		{stage, "home", bump.Job{Paths: []string{"apps/base", "apps/stage"}}, "@stage@+home"},
		{stage, "", bump.Job{Paths: []string{"apps/stage"}}, "@stage@+apps+stage"},
	} {
		if got := whereOf(tt.target, tt.prefix, tt.job); got != tt.want {
			t.Errorf("%s %s %+v: %s, want %s", tt.target.Name, tt.prefix, tt.job, got, tt.want)
		}
	}
}
