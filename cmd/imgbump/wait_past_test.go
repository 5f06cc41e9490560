package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/githubactions"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/rollout"
)

// TestRelationOfSilence wants a git server that says nothing not to keep us from looking at applications until the time is up.
func TestRelationOfSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var said bytes.Buffer
	getenv := func(string) string { return "" }
	c := &cli.Console{Streams: cli.Streams{Err: &said, Getenv: getenv}, Workflow: githubactions.New(getenv, &said)}
	p := &past{console: c, commit: strings.Repeat("a", 40), known: map[string]rollout.Relation{}, asked: map[string]time.Time{}}
	if p.repo, err = repo.NoCheckout(repo.Options{Getenv: getenv}); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.branch, err = p.repo.Remote("http://"+l.Addr().String()+"/app.git", "main"); err != nil {
		t.Fatal(err)
	}
	defer func(d time.Duration) { relating = d }(relating)
	relating = 100 * time.Millisecond
	began := time.Now()
	if r := p.relation(t.Context(), strings.Repeat("b", 40)); r != rollout.Unknown || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", r, time.Since(began))
	}
	if !strings.Contains(said.String(), "how newer commits stand to aaaaaaa is not known") {
		t.Error(said.String())
	}
}
