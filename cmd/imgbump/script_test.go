package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"imgbump": main})
}

// TestScript runs testdata/script: what a person sees of imgbump, against a real git server.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"git-serve":    gitServe,
			"others-push":  othersPush,
			"protect":      protect,
			"ssh-serve":    sshServe,
			"github-serve": githubServe,
			"github-knows": githubKnows,
			"pulls":        pulls,
			"json-matches": jsonMatches,
			"bytes":        writeBytes,
			"tree":         copyTree,

			"registry-serve": registryServe,
			"image":          pushImage,
			"saw-login":      sawLogin,
			"unasked":        unasked,
			"asked":          asked,
			"cluster-serve":  clusterServe,

			"argo-serve":   argoServe,
			"argo-has":     argoHas,
			"argo-asked":   argoAsked,
			"argo-awaits":  argoAwaits,
			"argo-down":    argoDown,
			"argo-answers": argoAnswers,
			"rev-parse":    revParse,
		},
	})
}

// setup gives a script the environment of nobody: no configuration, no identity but the one that git needs.
func setup(env *testscript.Env) error {
	env.Setenv("GORACE", "atexit_sleep_ms=10") // a program with the race detector sleeps a second when it ends
	env.Setenv("HOME", env.WorkDir)
	for _, kv := range gittest.Env() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") {
			env.Setenv(name, value)
		}
	}
	env.Values[serverKey{}] = &server{}
	env.Values[registriesKey{}] = registries{}
	env.Values[argoKey{}] = new(*argotest.Server)
	return nil
}

type serverKey struct{}

// server is the script's git server with what others push before the next push reaches it.
type server struct {
	*gittest.Server
	repository *gittest.Repository
	mu         sync.Mutex
	before     []string // folders, one pushed before each of our pushes
	hub        *githubtest.Server
	project    *githubtest.Repository
}

// gitServe DIR [PASSWORD] serves a repository whose branch main holds DIR, and sets $GIT_URL.
func gitServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: git-serve DIR [PASSWORD]")
	}
	s := ts.Value(serverKey{}).(*server)
	options := gittest.Options{BeforePush: func(string) { s.othersGoFirst(ts) }}
	if len(args) > 1 {
		options.Password = args[1]
	}
	var err error
	s.Server, err = gittest.Start(options)
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	s.repository, err = s.Create("team/gitops.git")
	ts.Check(err)
	_, err = s.repository.Commit("main", "start", os.DirFS(ts.MkAbs(args[0])))
	ts.Check(err)
	ts.Setenv("GIT_URL", s.repository.URL)
	ts.Setenv("GIT_DIR_BARE", s.repository.Dir)
}

func (s *server) othersGoFirst(ts *testscript.TestScript) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.before) == 0 {
		return
	}
	dir := s.before[0]
	s.before = s.before[1:]
	if _, err := s.repository.Commit("main", "somebody was first", os.DirFS(dir)); err != nil {
		ts.Logf("others-push: %v", err)
	}
}

// othersPush DIR... lets somebody else push each DIR just before one of our pushes reaches the server.
func othersPush(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range args {
		s.before = append(s.before, ts.MkAbs(dir))
	}
}

// protect WORDS makes the server refuse every push with these words.
func protect(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Value(serverKey{}).(*server).repository.Hook("pre-receive", "echo "+args[0]+"\nexit 1"))
}

// jsonMatches WANT compares stdout with the JSON in WANT; a string "*" there matches anything.
func jsonMatches(ts *testscript.TestScript, neg bool, args []string) {
	var got, want any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &want))
	if path := difference(got, want); path != "" {
		ts.Fatalf("stdout differs from %s at %s:\n%s", args[0], path, ts.ReadFile("stdout"))
	}
}

func difference(got, want any) string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok || len(got) != len(want) {
			return "."
		}
		for k, v := range want {
			if path := difference(got[k], v); path != "" {
				return "." + k + path
			}
		}
		return ""
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return "[]"
		}
		for i, v := range want {
			if path := difference(got[i], v); path != "" {
				return "[]" + path
			}
		}
		return ""
	}
	if want == "*" || got == want {
		return ""
	}
	return " "
}

// writeBytes FILE TEXT writes text with Go's escapes, for what an archive cannot hold.
func writeBytes(ts *testscript.TestScript, neg bool, args []string) {
	replaced := strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\0`, "\x00").Replace(args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(replaced), 0o644))
}

// copyTree DIR copies the repository's manifests, the tree that all examples use, to DIR.
func copyTree(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(filepath.Join(repositoryRoot, "manifests"))))
}

// repositoryRoot is where the tests find the repository's own files.
var repositoryRoot, _ = filepath.Abs("../..")

func TestExitCodesInHelp(t *testing.T) {
	for _, code := range []int{0, 1, 2, 3, 4, 5, 6, 7, 10, 130} {
		if strings.HasSuffix(cli.Exits(code), "  \n") {
			t.Errorf("exit code %d has no meaning", code)
		}
	}
}
