package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/registrytest"
)

// stock is stock FILE [SETTING...]: it starts a Harbor that holds what FILE lists, a line each: REPOSITORY NAME DAYS
// [TAG...] [+CHILD...] [^SUBJECT]. DAYS is how long ago it was pushed; names stand for digests, which $NAME holds. HOST and
// the login's environment are set. Settings: reader (the login may not delete or scan), once (it may delete one image
// only), retag (an image is tagged while it is judged), scanner, admin.
func stock(ts *testscript.TestScript, _ bool, args []string) {
	account := registrytest.Robot{Name: robot, Secret: password, Project: "team", Push: true, Delete: true, Scan: true}
	config := registrytest.Config{Projects: []string{"team", "base"}, Immutable: []string{"team/*:rel-*"}}
	if slices.Contains(args, "reader") {
		account.Delete, account.Scan = false, false
	}
	account.Admin = slices.Contains(args, "admin")
	config.Robots = []registrytest.Robot{account}
	if slices.Contains(args, "scanner") {
		config.Scanner = &registrytest.Scanner{Asks: 3, Vulnerabilities: ts.ReadFile("findings.json")}
	}
	if slices.Contains(args, "once") {
		deleted := 0
		config.Instead = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodDelete {
				return false
			}
			if deleted++; deleted == 1 {
				return false
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintln(w, `{"errors":[{"code":"FORBIDDEN","message":"forbidden"}]}`)
			return true
		}
	}
	if slices.Contains(args, "retag") {
		config.Instead = func(_ http.ResponseWriter, r *http.Request) bool {
			if at := strings.Index(r.URL.Path, "sha256:"); r.Method == http.MethodGet && at >= 0 {
				stocked(ts).Tag("team/app", r.URL.Path[at:], "prod")
			}
			return false
		}
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		a, name := stockLine(ts, line)
		ts.Setenv(name, a.Digest)
		config.Artifacts = append(config.Artifacts, a)
	}
	s, err := registrytest.New(config)
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	stocks.Store(ts.Name(), s)
	ts.Setenv("HOST", s.Host)
	ts.Setenv("HARBOR_URL", s.URL)
	ts.Setenv("HARBOR_USERNAME", robot)
	ts.Setenv("HARBOR_PASSWORD", password)
}

// stockLine reads a line of a stock's file.
func stockLine(ts *testscript.TestScript, line string) (a registrytest.Artifact, name string) {
	fields := strings.Fields(line)
	days, err := strconv.Atoi(fields[2])
	ts.Check(err)
	a = registrytest.Artifact{Repository: fields[0], Digest: digestOf(fields[1]), Pushed: time.Now().AddDate(0, 0, -days), Size: 1000}
	for _, f := range fields[3:] {
		switch f[0] {
		case '+':
			a.Children = append(a.Children, digestOf(f[1:]))
		case '^':
			a.Subject = digestOf(f[1:])
		default:
			a.Tags = append(a.Tags, f)
		}
	}
	return a, fields[1]
}

func digestOf(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

// left is left NAME...: what the stocked Harbor holds still, by name.
func left(ts *testscript.TestScript, _ bool, args []string) {
	got := map[string]bool{}
	for _, a := range stocked(ts).Artifacts() {
		got[a.Digest] = true
	}
	for _, name := range args {
		if !got[digestOf(name)] {
			ts.Fatalf("%s is gone", name)
		}
	}
	if len(got) != len(args) {
		ts.Fatalf("%d images are left, want %d", len(got), len(args))
	}
}

// stocks are the running Harbors by the names of their scripts.
var stocks sync.Map

func stocked(ts *testscript.TestScript) *registrytest.Server {
	s, _ := stocks.Load(ts.Name())
	return s.(*registrytest.Server)
}

// labelled is labelled REPOSITORY LABEL...: what the newest image of the stocked Harbor's repository bears.
func labelled(ts *testscript.TestScript, _ bool, args []string) {
	var got []string
	for _, a := range stocked(ts).Artifacts() {
		if a.Repository == args[0] {
			got = a.Labels
		}
	}
	if !slices.Equal(got, args[1:]) {
		ts.Fatalf("%s is labelled %v", args[0], got)
	}
}

// described is described REPOSITORY TEXT.
func described(ts *testscript.TestScript, _ bool, args []string) {
	if got := stocked(ts).Description(args[0]); got != args[1] {
		ts.Fatalf("%s is described as %q", args[0], got)
	}
}
