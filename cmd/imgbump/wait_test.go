package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/kubetest"
	"github.com/ksera524/imgbump/internal/rollout"
)

const (
	argoToken  = "T0kenOfTheAccount"
	argoSecret = "S3cretOfTheWebhook"
)

type argoKey struct{}

// argoServe starts an Argo CD: $ARGO_URL is its own API, and argo-kubeconfig leads to its cluster's. Words make it refuse.
func argoServe(ts *testscript.TestScript, neg bool, args []string) {
	s := &argotest.Server{Token: argoToken}
	for _, word := range args {
		switch word {
		case "no-patch":
			s.NoPatch = true
		case "no-streams":
			s.Silent = true
		case "expired":
			s.Token += "2"
		case "signed":
			s.Secret = argoSecret
		default:
			ts.Fatalf("argo-serve: %s is unknown", word)
		}
	}
	own := httptest.NewServer(s)
	ts.Defer(own.Close)
	ts.Defer(own.CloseClientConnections)
	cluster := kubetest.New(kubetest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		s.ServeHTTP(w, r)
		return true
	}})
	ts.Defer(cluster.Close)
	ts.Defer(cluster.CloseClientConnections)
	ts.Check(os.WriteFile(ts.MkAbs("argo-kubeconfig"), []byte(cluster.Kubeconfig(argoToken)), 0o600))
	ts.Setenv("ARGO_URL", own.URL)
	*ts.Value(argoKey{}).(**argotest.Server) = s
}

// argoHas NAME STATE... makes an application be as a line of a transcript says; what follows comes when it is refreshed.
func argoHas(ts *testscript.TestScript, neg bool, args []string) {
	s := *ts.Value(argoKey{}).(**argotest.Server)
	var writes []*rollout.Application
	var state argotest.State
	for _, text := range args[1:] {
		ts.Check(json.Unmarshal([]byte(text), &state))
		a := state.Application(args[0])
		a.Spec.Source.Repository = ts.Getenv("GIT_URL")
		if follows := ts.Getenv("FOLLOWS"); follows != "" {
			a.Spec.Source.Revision = follows
		}
		for i, child := range strings.Fields(ts.Getenv("CHILDREN")) {
			a.Status.Resources = append(a.Status.Resources, rollout.Resource{Group: "argoproj.io", Kind: "Application", Namespace: argotest.Namespace, Name: child, Wave: i + 1})
		}
		for _, resource := range strings.Fields(ts.Getenv("RESOURCES")) {
			parts := strings.Split(resource, "/")
			r := rollout.Resource{Namespace: parts[0], Kind: parts[1], Name: parts[2]}
			if r.Kind == "Rollout" {
				r.Group, r.Version = "argoproj.io", "v1alpha1"
			}
			a.Status.Resources = append(a.Status.Resources, r)
		}
		writes = append(writes, a)
	}
	s.Put(writes[0])
	s.OnRefresh(args[0], writes[1:]...)
}

// argoAnswers PATH FILE says what Argo CD, or its cluster, has at a path.
func argoAnswers(ts *testscript.TestScript, neg bool, args []string) {
	s := *ts.Value(argoKey{}).(**argotest.Server)
	if s.Answers == nil {
		s.Answers = map[string]string{}
	}
	s.Answers[args[0]] = ts.ReadFile(args[1])
}

// argoAsked TEXT [COUNT] looks for requests that hold it.
func argoAsked(ts *testscript.TestScript, neg bool, args []string) {
	all := (*ts.Value(argoKey{}).(**argotest.Server)).Requests()
	n := 0
	for _, r := range all {
		if strings.Contains(r, args[0]) {
			n++
		}
	}
	want := n > 0
	if len(args) > 1 {
		want = strconv.Itoa(n) == args[1]
	}
	if want == neg {
		ts.Fatalf("%d requests hold %s:\n%s", n, args[0], strings.Join(all, "\n"))
	}
}

// argoDown makes Argo CD answer nobody any more.
func argoDown(ts *testscript.TestScript, neg bool, args []string) {
	(*ts.Value(argoKey{}).(**argotest.Server)).Down()
}

// argoAwaits TEXT goes on when there was a request that holds it.
func argoAwaits(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if !(*ts.Value(argoKey{}).(**argotest.Server)).Await(ctx, args[0]) {
		ts.Fatalf("nobody asked for %s", args[0])
	}
}

// revParse VAR DIR REVISION sets a variable to the id of a commit.
func revParse(ts *testscript.TestScript, neg bool, args []string) {
	id, err := gittest.Git(ts.MkAbs(args[1]), "rev-parse", args[2])
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimSpace(id))
}
