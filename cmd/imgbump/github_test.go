package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/rogpeppe/go-internal/testscript"
)

// githubServe serves GitHub's API over the git server's repository, which it knows $GITHUB_TOKEN for, and sets GitHub's
// variables for both.
func githubServe(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	s.hub = githubtest.New()
	s.project = s.hub.Add("team/gitops", s.repository.Dir)
	s.hub.Allow(ts.Getenv("GITHUB_TOKEN"), githubtest.Grant{Login: "bot"})
	web := httptest.NewServer(s.hub)
	ts.Defer(web.Close)
	ts.Setenv("GITHUB_API_URL", web.URL)
	ts.Setenv("GITHUB_SERVER_URL", s.URL)
}

// githubKnows fork OWNER | app ID KEY-FILE | people NAME... | auto-merge | no-queries | protected BRANCH... | closed|open NUMBER
// sets what GitHub has.
func githubKnows(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	switch args[0] {
	case "fork":
		fork, err := s.Create(args[1] + "/gitops.git")
		ts.Check(err)
		_, err = gittest.Git(fork.Dir, "fetch", "-q", s.repository.Dir, "main:main")
		ts.Check(err)
		s.hub.Add(args[1]+"/gitops", fork.Dir)
		ts.Setenv("FORK_DIR_BARE", fork.Dir)
	case "app":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		ts.Check(err)
		file := ts.MkAbs(args[2])
		ts.Check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
		s.hub.Install(githubtest.App{
			ID: args[1], Key: &key.PublicKey, Repositories: []string{"team/gitops"}, Permissions: map[string]string{"contents": "write", "pull_requests": "write"},
		})
	case "people":
		s.project.Collaborators = args[1:]
	case "auto-merge":
		s.project.AutoMerge, s.project.Blocked = true, true
	case "no-queries":
		s.project.Unqueried = true
	case "protected":
		s.project.Protected = args[1:]
	case "closed", "open":
		number, err := strconv.Atoi(args[1])
		ts.Check(err)
		s.project.Pulls()[number-1].State = args[0]
	default:
		ts.Fatalf("github-knows %s?", args[0])
	}
}

// pulls [body] prints the pull requests and what was said of them, with their text if asked.
func pulls(ts *testscript.TestScript, neg bool, args []string) {
	out := ts.Stdout()
	for _, p := range ts.Value(serverKey{}).(*server).project.Pulls() {
		head := p.Head
		if p.HeadOwner != "team" {
			head = p.HeadOwner + ":" + head
		}
		fmt.Fprintf(out, "%d %s: %s -> %s: %s\n", p.Number, p.State, head, p.Base, p.Title)
		for _, said := range [][]string{
			append([]string{"labels"}, p.Labels...), append([]string{"assignees"}, p.Assignees...),
			append(append([]string{"reviewers"}, p.Reviewers...), p.Teams...), append([]string{"comments"}, p.Comments...),
			append([]string{"auto-merge"}, strings.Fields(p.AutoMerge)...),
		} {
			if len(said) > 1 {
				fmt.Fprintf(out, "%d %s\n", p.Number, strings.Join(said, " "))
			}
		}
		if len(args) > 0 {
			fmt.Fprintf(out, "%s\n", p.Body)
		}
		if p.Draft {
			fmt.Fprintf(out, "%d draft\n", p.Number)
		}
	}
}
