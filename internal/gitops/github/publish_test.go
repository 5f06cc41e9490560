package github_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/trailer"
	"github.com/ksera524/imgbump/internal/gittest"
)

const (
	manifest = "api/deployment.yaml"
	bumped   = "image: registry.example.com/api:1.5.0\n"
	message  = "chore(images): bump api to 1.5.0\n\napi: 1.4.1 -> 1.5.0\n\nImgbump: v1"
)

// series is one commit upon the branch as it is.
func (s *server) series(t *testing.T, branch string, files ...github.File) github.Series {
	t.Helper()
	if files == nil {
		files = []github.File{{Path: manifest, Content: []byte(bumped)}}
	}
	parent, err := s.git.Tip("main")
	if err != nil {
		t.Fatal(err)
	}
	return github.Series{Owner: "acme", Repository: "gitops", Branch: branch, Parent: parent, Commits: []github.Commit{{Message: message, Files: files}}}
}

func (s *server) gitOut(t *testing.T, args ...string) string {
	t.Helper()
	out, err := gittest.Git(s.git.Dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// landed fails unless the branch is exactly the commits upon parent, and git finds the repository sound.
func (s *server) landed(t *testing.T, w github.Series, commits []string) {
	t.Helper()
	if err := s.git.Fsck(); err != nil {
		t.Error(err)
	}
	log := strings.Fields(s.gitOut(t, "log", "--reverse", "--format=%H", w.Parent+".."+w.Branch))
	if diff := cmp.Diff(commits, log); diff != "" {
		t.Errorf("commits on %s (-returned +there):\n%s", w.Branch, diff)
	}
	if base := s.gitOut(t, "merge-base", w.Parent, w.Branch); base != w.Parent {
		t.Errorf("%s is not upon %s", w.Branch, w.Parent)
	}
}

// methods are the requests without their bodies and the repository's address.
func (s *server) methods() (list []string) {
	for _, line := range s.Requests() {
		method, rest, _ := strings.Cut(line, " ")
		path, _, _ := strings.Cut(rest, " ")
		list = append(list, method+" "+strings.TrimPrefix(strings.TrimPrefix(path, "/api/v3/repos/acme/gitops"), "/api/"))
	}
	return list
}

func TestPublishByOneRequest(t *testing.T) {
	s := start(t)
	w := s.series(t, "main")
	commits, err := s.client(t).Publish(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	s.landed(t, w, commits)
	if diff := cmp.Diff([]string{"POST graphql"}, s.methods()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := s.gitOut(t, "log", "-1", "--format=%B", "main"); got != message {
		t.Errorf("message %q", got)
	}
	if got := s.gitOut(t, "show", "--format=", "--name-status", "main"); got != "M\t"+manifest {
		t.Errorf("changed %q", got)
	}
}

func TestPublishByObjects(t *testing.T) {
	latin1 := []byte("# caf\xe9\nimage: a:2\n")
	large := []byte("# " + strings.Repeat("large ", 60_000) + "\nimage: a:2\n")
	huge := bytes.Repeat([]byte("# huge\n"), 200_000)
	for _, tt := range []struct {
		name  string
		given func(s *server)
		files []github.File
		blobs int
	}{
		{"executable", func(*server) {}, []github.File{{Path: "run.sh", Content: []byte("#!/bin/sh\nexit 1\n"), Executable: true}}, 0},
		{"no such mutation", func(s *server) { s.repo.Unqueried = true }, []github.File{{Path: manifest, Content: []byte("a: 1\r\n")}}, 0},
		{"not UTF-8, large, a NUL", func(s *server) { s.repo.Unqueried = true },
			[]github.File{{Path: "x.yaml", Content: latin1}, {Path: "y/large.yaml", Content: large}, {Path: "z", Content: []byte("a\x00b")}, {Path: "empty", Content: []byte{}}}, 3},
		{"too much for one request", func(*server) {}, []github.File{{Path: "huge.yaml", Content: huge}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			tt.given(s)
			w := s.series(t, "main", tt.files...)
			commits, err := s.client(t).Publish(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			s.landed(t, w, commits)
			for _, file := range tt.files {
				got, err := s.git.File("main", file.Path)
				if err != nil || got != string(file.Content) {
					t.Errorf("%s: %q, %v", file.Path, got[:min(80, len(got))], err)
				}
				mode := map[bool]string{true: "100755", false: "100644"}[file.Executable]
				if tree := s.gitOut(t, "ls-tree", "main", file.Path); !strings.HasPrefix(tree, mode) {
					t.Errorf("%s is %s, want mode %s", file.Path, tree, mode)
				}
			}
			blobs := 0
			for _, line := range s.Requests() {
				if strings.HasPrefix(line, "POST /api/v3/repos/acme/gitops/git/blobs") {
					blobs++
				}
				if strings.Contains(line, "/git/commits {") && (strings.Contains(line, `"author"`) || strings.Contains(line, `"committer"`)) {
					t.Errorf("a commit with an author is not Verified: %s", line)
				}
			}
			if blobs != tt.blobs {
				t.Errorf("%d blobs, want %d", blobs, tt.blobs)
			}
		})
	}
}

// A series appears at once, and a commit that changes nothing is none.
func TestPublishSeries(t *testing.T) {
	s := start(t)
	w := s.series(t, "main")
	w.Commits = append(w.Commits, github.Commit{Message: "again", Files: w.Commits[0].Files},
		github.Commit{Message: "web", Files: []github.File{{Path: "web/deployment.yaml", Content: []byte("image: web:2\n")}}})
	commits, err := s.client(t).Publish(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if len(commits) != 3 || commits[0] != commits[1] {
		t.Fatalf("commits %q: the second changes nothing", commits)
	}
	s.landed(t, w, []string{commits[0], commits[2]})
	updates := 0
	for _, request := range s.methods() {
		if strings.HasPrefix(request, "PATCH ") {
			updates++
		}
	}
	if updates != 1 {
		t.Errorf("the branch was moved %d times", updates)
	}
}

// races are what others do to the branch between our decision and the server's.
var races = map[string]func(t *testing.T, s *server){
	"somebody commits": func(t *testing.T, s *server) {
		if _, err := s.git.Commit("main", "somebody was first", fstest.MapFS{"other.yaml": {Data: []byte("a: 1\n")}}); err != nil {
			t.Error(err)
		}
	},
	"somebody changes the same line": func(t *testing.T, s *server) {
		if _, err := s.git.Commit("main", message, fstest.MapFS{manifest: {Data: []byte("image: registry.example.com/api:9\n")}}); err != nil {
			t.Error(err)
		}
	},
	"the branch goes back": func(t *testing.T, s *server) {
		root, _ := gittest.Git(s.git.Dir, "commit-tree", "-m", "root", "main^{tree}")
		_, _ = gittest.Git(s.git.Dir, "update-ref", "refs/heads/main", strings.TrimSpace(root))
	},
	"the branch is deleted": func(_ *testing.T, s *server) {
		_, _ = gittest.Git(s.git.Dir, "update-ref", "-d", "refs/heads/main")
	},
}

func TestPublishLosesTheRace(t *testing.T) {
	for name, race := range races {
		for _, way := range []struct {
			name string
			at   func(r *http.Request) bool
		}{
			{"graphql", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/graphql") }},
			{"rest, before we look", func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/git/ref/") }},
			{"rest, after we looked", func(r *http.Request) bool { return r.Method == http.MethodPatch }},
		} {
			t.Run(name+"/"+way.name, func(t *testing.T) {
				if strings.HasPrefix(name, "the branch goes back") && way.name == "rest, after we looked" {
					t.Skip("REST has no compare-and-swap: that window stays, and it is a forced push's")
				}
				s := start(t)
				s.repo.Unqueried = way.name != "graphql"
				w := s.series(t, "main")
				done, theirs := false, ""
				s.on(func(_ http.ResponseWriter, r *http.Request) bool {
					if !done && way.at(r) {
						done = true
						race(t, s)
						theirs, _ = s.git.Tip("main")
					}
					return false
				})
				_, err := s.client(t).Publish(t.Context(), w)
				if fault.KindOf(err) != fault.Conflict {
					t.Fatalf("%v, want a conflict", err)
				}
				if now, _ := s.git.Tip("main"); now != theirs {
					t.Errorf("main is at %s, they left it at %s", now, theirs)
				}
			})
		}
	}
}

// The answer is lost, not the commit: it is found, and nothing is committed twice.
func TestPublishAnswerLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(r *http.Request) bool
	}{
		{"graphql", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/graphql") }},
		{"tree", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/git/trees") }},
		{"commit", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/git/commits") }},
		{"ref", func(r *http.Request) bool { return r.Method == http.MethodPatch }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, forEver := range []bool{false, true} {
				s := start(t)
				s.repo.Unqueried = tt.name != "graphql"
				lost := false
				s.Lose = func(r *http.Request) bool {
					lose := tt.lose(r) && (!lost || forEver)
					lost = lost || lose
					return lose
				}
				w := s.series(t, "main")
				commits, err := s.client(t).Publish(t.Context(), w)
				stuck := forEver && (tt.name == "tree" || tt.name == "commit")
				if stuck != (err != nil) {
					t.Fatalf("for ever %v: %v", forEver, err)
				}
				if !stuck {
					s.landed(t, w, commits)
				}
			}
		})
	}
}

func TestPublishRefused(t *testing.T) {
	for _, tt := range []struct {
		name      string
		given     func(s *server)
		kind      fault.Kind
		protected bool
		err, hint string
	}{
		{"classic rule", func(s *server) { s.repo.Protected = []string{"main"} }, fault.Denied, true,
			"HOST refuses it: Changes must be made through a pull request.", "--pr"},
		{"ruleset", func(s *server) { s.repo.Protected, s.repo.Unqueried = []string{"main"}, true }, fault.Denied, true,
			"HOST refuses it: Repository rule violations found Changes must be made through a pull request.", "--pr"},
		{"no right, graphql", func(s *server) {
			s.Allow(token, githubtest.Grant{Permissions: []string{"pull_requests"}})
		}, fault.Denied, false, "HOST answers: Resource not accessible by integration", "GITHUB_TOKEN needs the right to write contents"},
		{"no right, rest", func(s *server) {
			s.repo.Unqueried = true
			s.Allow(token, githubtest.Grant{Permissions: []string{"pull_requests"}})
		}, fault.Denied, false, "HOST answers 403 Forbidden: Resource not accessible by integration", "needs the permission contents=write"},
		{"another repository's token", func(s *server) { s.Allow(token, githubtest.Grant{Repositories: []string{"acme/other"}}) },
			fault.Failed, false, "HOST has no such repository, or hides it from GITHUB_TOKEN", "its own repository only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			tt.given(s)
			w := s.series(t, "main")
			_, err := s.client(t).Publish(t.Context(), w)
			host := strings.TrimPrefix(s.URL, "http://")
			want := "commit to main of acme/gitops: " + strings.ReplaceAll(tt.err, "HOST", host)
			if err == nil || err.Error() != want {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
			if fault.KindOf(err) != tt.kind || github.Protected(err) != tt.protected || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("kind %d, protected %v, hint %q", fault.KindOf(err), github.Protected(err), fault.HintOf(err))
			}
			noSecret(t, err)
			updates := 0
			for _, request := range s.methods() {
				updates += strings.Count(request, "PATCH ")
			}
			if want := map[string]int{"ruleset": 3, "no right, rest": 0}[tt.name]; updates != want {
				t.Errorf("tried %d times to move the branch, want %d", updates, want)
			}
			if now, _ := s.git.Tip("main"); now != w.Parent {
				t.Errorf("main moved to %s", now)
			}
		})
	}
}

func TestPropose(t *testing.T) {
	s := start(t)
	c := s.client(t)
	w := s.series(t, "imgbump/main")
	first, err := c.Propose(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	s.landed(t, w, first)
	s.Requests()

	same, err := c.Propose(t.Context(), w)
	if err != nil || cmp.Diff(first, same) != "" {
		t.Fatalf("again: %q, %v; want %q", same, err, first)
	}
	for _, request := range s.methods() {
		if strings.HasPrefix(request, "PATCH") || request == "POST /git/commits" {
			t.Errorf("the same again sends %s", request)
		}
	}

	w.Commits[0].Message = "other words\n\n" + trailer.Mark + "\n"
	if said, err := c.Propose(t.Context(), w); err != nil || said[0] == first[0] {
		t.Fatalf("other words: %q, %v", said, err)
	}
	w.Commits[0].Files[0].Content = []byte("image: registry.example.com/api:1.6.0\n")
	w.Commits = append(w.Commits, github.Commit{Message: "web\n\n" + trailer.Mark, Files: []github.File{{Path: "web.yaml", Content: []byte("image: web:2\n")}}})
	for range 2 {
		second, err := c.Propose(t.Context(), w)
		if err != nil || second[0] == first[0] {
			t.Fatalf("%q, %v", second, err)
		}
		s.landed(t, w, second)
	}
	if now, _ := s.git.Tip("main"); now != w.Parent {
		t.Error("the base moved")
	}
}

// The same content upon another base is another proposal; content that the base has already is none.
func TestProposeUponAnotherBase(t *testing.T) {
	s := start(t)
	c := s.client(t)
	if _, err := c.Propose(t.Context(), s.series(t, "imgbump/main")); err != nil {
		t.Fatal(err)
	}
	empty := s.gitOut(t, "commit-tree", "-p", "main", "-m", "nothing", "main^{tree}")
	s.gitOut(t, "update-ref", "refs/heads/main", empty)
	w := s.series(t, "imgbump/main")
	second, err := c.Propose(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	s.landed(t, w, second)

	same := s.series(t, "imgbump/main", github.File{Path: manifest, Content: []byte("image: registry.example.com/api:1.4.1\n")})
	commits, err := c.Propose(t.Context(), same)
	if err != nil || commits[0] != same.Parent {
		t.Errorf("nothing to propose: %q, %v", commits, err)
	}
	s.landed(t, w, second)
}

// The branch went away and came back between GitHub's look at it and ours.
func TestPublishIsTold(t *testing.T) {
	s := start(t)
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/graphql") {
			return false
		}
		answer(w, http.StatusOK, map[string]any{"data": nil, "errors": []any{map[string]any{"type": "STALE_DATA", "message": "Expected branch to point to x"}}})
		return true
	})
	if _, err := s.client(t).Publish(t.Context(), s.series(t, "main")); fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v, want a conflict", err)
	}
}

func TestProposeLosesTheRace(t *testing.T) {
	for _, exists := range []bool{false, true} {
		for _, lost := range []bool{false, true} {
			s := start(t)
			w := s.series(t, "imgbump/main")
			if exists {
				s.branch(t, w.Branch, "imgbump/api")
			}
			update := func(r *http.Request) bool {
				return r.Method == http.MethodPatch || r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git/refs")
			}
			s.Lose = func(r *http.Request) bool { return lost && update(r) }
			s.on(func(_ http.ResponseWriter, r *http.Request) bool {
				if !lost && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git/commits") {
					s.branch(t, w.Branch, "main")
				}
				return false
			})
			commits, err := s.client(t).Propose(t.Context(), w)
			if lost != (err == nil) || !lost && fault.KindOf(err) != fault.Conflict {
				t.Fatalf("exists %v, answer lost %v: %v", exists, lost, err)
			}
			if lost {
				s.landed(t, w, commits)
			}
		}
	}
}

func TestProposeRefused(t *testing.T) {
	s := start(t)
	s.repo.Protected = []string{"imgbump/main"}
	if _, err := s.client(t).Propose(t.Context(), s.series(t, "imgbump/main")); !github.Protected(err) || fault.KindOf(err) != fault.Denied {
		t.Errorf("%v, want what the rules refuse", err)
	}
}

// Writers that only know Publish, and decide again when they lose, lose nothing.
func TestPublishRace(t *testing.T) {
	const writers, bumps = 4, 3
	for _, unqueried := range []bool{false, true} {
		s := start(t)
		s.repo.Unqueried = unqueried
		c := s.client(t)
		begin, _ := s.git.Tip("main")
		done := make(chan error)
		for i := range writers {
			go func() { done <- s.write(t.Context(), c, i, bumps) }()
		}
		for range writers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := s.gitOut(t, "rev-list", "--count", begin+"..main"); n != "12" {
			t.Errorf("%s commits, want %d", n, writers*bumps)
		}
		if got := s.gitOut(t, "grep", "-c", "image: v3", "main", "--", "w"); strings.Count(got, "\n") != writers-1 {
			t.Errorf("the last of each writer: %s", got)
		}
	}
}

func (s *server) write(ctx context.Context, c *github.Client, writer, bumps int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	name := string(rune('a' + writer))
	for bump := 1; bump <= bumps; {
		parent, err := s.git.Tip("main")
		if err != nil {
			return err
		}
		image := "image: v" + string(rune('0'+bump)) + "\n"
		_, err = c.Publish(ctx, github.Series{Owner: "acme", Repository: "gitops", Branch: "main", Parent: parent, Commits: []github.Commit{
			{Message: "bump " + name, Files: []github.File{{Path: "w/" + name + ".yaml", Content: []byte(image)}}}}})
		if err == nil {
			bump++
		} else if fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	return nil
}

// A commit that landed is reported, also when the time was up, or somebody interrupted us, before its answer was here.
func TestLandedWhenTheTimeWasUp(t *testing.T) {
	for name, way := range map[string]struct {
		publish func(c *github.Client, ctx context.Context, s github.Series) ([]string, error)
		at      func(r *http.Request) bool
	}{
		"graphql": {(*github.Client).Publish, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/graphql") }},
		"rest":    {(*github.Client).Publish, func(r *http.Request) bool { return r.Method == http.MethodPatch }},
		"propose": {(*github.Client).Propose, func(r *http.Request) bool { return r.Method == http.MethodPatch }},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.repo.Unqueried = name != "graphql"
			w := s.series(t, map[bool]string{true: "imgbump/api", false: "main"}[name == "propose"])
			ctx, cancel := context.WithCancel(t.Context())
			s.Lose = func(r *http.Request) bool {
				if !way.at(r) {
					return false
				}
				cancel()
				return true
			}
			commits, err := way.publish(s.client(t), ctx, w)
			if err != nil {
				t.Fatal(err)
			}
			s.landed(t, w, commits)

			s.Lose = func(*http.Request) bool { return false }
			w = s.series(t, "main", github.File{Path: manifest, Content: []byte("image: never\n")})
			if _, err := s.client(t).Publish(ctx, w); err == nil {
				t.Error("published when the time was up")
			}
		})
	}
}
