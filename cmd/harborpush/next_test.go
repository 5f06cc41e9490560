package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/gittest"
)

// gitServe, as git-serve [private], serves a git repository with one commit on main, and sets GIT_URL and GIT_DIR_BARE.
// It gives git the environment of nobody. A private one wants the password. Just before one of our pushes reaches the
// server somebody else pushes the tag in the first line of the file theirs: TAG [COMMIT], by default at a commit of their
// own. The line goes away, unless it is the last and ends in "...": then it stands for more patch versions, without end.
func gitServe(ts *testscript.TestScript, neg bool, args []string) {
	options := gittest.Options{}
	if len(args) > 0 {
		options.Password = password
	}
	var r *gittest.Repository
	theirs := ts.MkAbs("theirs")
	options.BeforePush = func(string) {
		if err := othersTag(r, theirs); err != nil {
			ts.Logf("git-serve: %v", err)
		}
	}
	s, err := gittest.Start(options)
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	r, err = s.Create("team/app.git")
	ts.Check(err)
	_, err = r.Commit("main", "chore: start", fstest.MapFS{"README": {Data: []byte("read me\n")}})
	ts.Check(err)
	for _, kv := range gittest.Env() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") {
			ts.Setenv(name, value)
		}
	}
	ts.Setenv("GIT_URL", r.URL)
	ts.Setenv("GIT_DIR_BARE", r.Dir)
}

func othersTag(r *gittest.Repository, theirs string) error {
	lines, err := os.ReadFile(theirs)
	line, rest, _ := strings.Cut(string(lines), "\n")
	if err != nil || line == "" {
		return nil
	}
	tag, commit, _ := strings.Cut(line, " ")
	if prefix, endless := strings.CutSuffix(tag, "..."); endless {
		have, err := gittest.Git(r.Dir, "tag", "-l", prefix+"*")
		if err != nil {
			return err
		}
		tag, rest = fmt.Sprint(prefix, strings.Count(have, "\n")), line
	}
	if commit == "" {
		if commit, err = r.Commit("main", "feat: somebody's", fstest.MapFS{"theirs": {Data: []byte(tag)}}); err != nil {
			return err
		}
	}
	_, err = gittest.Git(r.Dir, "tag", tag, commit)
	return errors.Join(err, os.WriteFile(theirs, []byte(rest), 0o644))
}

// gitRefuses WORDS makes the repository of git-serve refuse every push with these words.
func gitRefuses(ts *testscript.TestScript, neg bool, args []string) {
	hook := "#!/bin/sh\necho '" + args[0] + "' >&2\nexit 1\n"
	ts.Check(os.WriteFile(ts.Getenv("GIT_DIR_BARE")+"/hooks/pre-receive", []byte(hook), 0o755))
}
