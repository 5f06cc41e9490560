package github_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gitops/github"
)

// full asks for all that a pull request can have.
func full(s *server) github.PullRequest {
	s.repo.Collaborators, s.repo.Teams = []string{"ann", "bob"}, []string{"platform"}
	s.repo.AutoMerge, s.repo.Blocked = true, true
	p := wanted
	p.Labels, p.Reviewers, p.Assignees = []string{"deploy"}, []string{"ann", "acme/platform"}, []string{"bob"}
	p.Draft, p.AutoMerge, p.MergeMethod = true, true, "squash"
	return p
}

// pull is the only pull request, but for its address.
func (s *server) pull(t *testing.T) githubtest.Pull {
	t.Helper()
	if len(s.repo.Pulls()) != 1 {
		t.Fatalf("%d pull requests, want 1", len(s.repo.Pulls()))
	}
	p := *s.repo.Pulls()[0]
	return githubtest.Pull{Head: p.Head, HeadOwner: p.HeadOwner, State: p.State, Draft: p.Draft, Labels: p.Labels, Assignees: p.Assignees,
		Reviewers: p.Reviewers, Teams: p.Teams, AutoMerge: p.AutoMerge, Comments: p.Comments}
}

func plain(p githubtest.Pull) string { return fmt.Sprintf("%+v", p) }

func TestOpenInFull(t *testing.T) {
	s := start(t)
	p := full(s)
	c := s.client(t)
	want := plain(githubtest.Pull{Head: wanted.Head, HeadOwner: "acme", State: "open", Draft: true, Labels: []string{"deploy"}, Assignees: []string{"bob"},
		Reviewers: []string{"ann"}, Teams: []string{"platform"}, AutoMerge: "SQUASH"})
	if _, created, err := c.Open(t.Context(), p); err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	if diff := cmp.Diff(want, plain(s.pull(t))); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}

	s.Requests()
	if _, created, err := c.Open(t.Context(), p); err != nil || created {
		t.Fatalf("again: created %v, %v", created, err)
	}
	if diff := cmp.Diff([]string{list}, s.Requests()); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}

	s.repo.Pulls()[0].Reviewers, s.repo.Pulls()[0].Reviewed = nil, []string{"ann"}
	p.Labels, p.Reviewers, p.Assignees = []string{"prod"}, []string{"ann", "bob"}, []string{"ann"}
	if _, _, err := c.Open(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	want = plain(githubtest.Pull{Head: wanted.Head, HeadOwner: "acme", State: "open", Draft: true, Labels: []string{"deploy", "prod"}, Assignees: []string{"bob", "ann"},
		Reviewers: []string{"bob"}, Teams: []string{"platform"}, AutoMerge: "SQUASH"})
	if diff := cmp.Diff(want, plain(s.pull(t))); diff != "" {
		t.Errorf("more is added, nothing taken away, and who reviewed is not asked again (-want +got):\n%s", diff)
	}
}

func TestOpenFromAFork(t *testing.T) {
	s := start(t)
	s.Add("robot/gitops", s.git.Dir)
	s.add(wanted.Head, "main", "of acme's own branch", "", "acme")
	p := wanted
	p.HeadOwner = "Robot"
	s.Add("Robot/gitops", s.git.Dir)
	for _, created := range []bool{true, false} {
		if url, is, err := s.client(t).Open(t.Context(), p); err != nil || is != created || !strings.HasSuffix(url, "/acme/gitops/pull/2") {
			t.Fatalf("%s, %v, %v", url, is, err)
		}
	}
}

func TestOpenLeavesAClosedOneClosed(t *testing.T) {
	s := start(t)
	s.add(wanted.Head, "main", wanted.Title, wanted.Body, "acme")
	s.repo.Pulls()[0].State = "closed"
	if url, created, err := s.client(t).Open(t.Context(), wanted); err != nil || !created || !strings.HasSuffix(url, "/pull/2") {
		t.Errorf("%s, %v, %v", url, created, err)
	}
}

// What somebody closed was declined, as long as the same is proposed; what we closed, or was merged, was not.
func TestDeclined(t *testing.T) {
	v1, v2 := wanted, wanted
	v1.Proposes, v2.Proposes = []string{"a1", "b1"}, []string{"a1", "b2"}
	s := start(t)
	c := s.client(t)
	declined := func(p github.PullRequest, number string) {
		t.Helper()
		url, err := c.Declined(t.Context(), p)
		if err != nil || !strings.HasSuffix(url, number) || url != "" && number == "" {
			t.Errorf("%s is declined in %q, %v", p.Proposes, url, err)
		}
	}
	open := func(p github.PullRequest) *githubtest.Pull {
		t.Helper()
		if _, _, err := c.Open(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		pulls := s.repo.Pulls()
		return pulls[len(pulls)-1]
	}
	declined(v1, "")
	first := open(v1)
	declined(v1, "") // it is open
	first.State, first.Merged = "closed", true
	declined(v1, "")
	first.Merged = false
	first.Body = strings.ReplaceAll(first.Body, "\n", "\r\n") + "\r\nseen" // as a browser sends it
	declined(v1, "/pull/1")
	declined(v2, "")
	declined(wanted, "")
	elsewhere, less, more := v1, v1, v1
	elsewhere.Base = "staging"
	declined(elsewhere, "")
	less.Proposes, more.Proposes = v1.Proposes[1:], append(v1.Proposes, "c1")
	declined(less, "")
	less.Partly, more.Partly = true, true
	declined(less, "/pull/1")
	declined(more, "")

	second := open(v1)
	if second.Number != 2 || second.State != "open" {
		t.Fatalf("whoever asks for it gets it: %+v", second)
	}
	declined(v1, "")
	first.Body = ""
	if urls, err := c.Close(t.Context(), "acme", "gitops", "main", wanted.Head, "superseded"); err != nil || len(urls) != 1 {
		t.Fatal(urls, err)
	}
	declined(v1, "")
	if second.State != "closed" || second.Body != wanted.Body {
		t.Errorf("closed by us: %+v", second)
	}
}

// GitHub opens no second pull request, so that asking again after a lost answer finds ours.
func TestOpenAnswerLost(t *testing.T) {
	s := start(t)
	lost := 0
	s.Lose = func(r *http.Request) bool {
		if r.Method != http.MethodPost || lost == 2 {
			return false
		}
		lost++
		return true
	}
	if url, _, err := s.client(t).Open(t.Context(), wanted); err != nil || !strings.HasSuffix(url, "/pull/1") {
		t.Fatalf("%s, %v", url, err)
	}
	s.pull(t)
}

func TestOpenInPart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		given func(s *server, p *github.PullRequest)
		err   string
		hint  string
	}{
		{"reviewer from outside", func(_ *server, p *github.PullRequest) { p.Reviewers = []string{"eve"} },
			"ask for a review of URL: HOST answers 422: Reviews may only be requested from collaborators.", "reviewers need access to acme/gitops"},
		{"assignee from outside", func(_ *server, p *github.PullRequest) { p.Assignees = []string{"bob", "eve"} },
			"assign URL: HOST leaves out eve", "assignees need access to acme/gitops"},
		{"auto-merge is off", func(s *server, _ *github.PullRequest) { s.repo.AutoMerge = false },
			"enable auto-merge of URL: acme/gitops does not allow it", `"Allow auto-merge"`},
		{"method is off", func(s *server, _ *github.PullRequest) { s.repo.Methods = []string{"MERGE", "REBASE"} },
			"enable auto-merge of URL: acme/gitops does not allow merging by squash", "another merge method"},
		{"default method is off", func(s *server, p *github.PullRequest) { s.repo.Methods, p.MergeMethod = []string{"SQUASH"}, "" },
			"enable auto-merge of URL: acme/gitops does not allow merging by merge", "another merge method"},
		{"nothing holds it back", func(s *server, _ *github.PullRequest) { s.repo.Blocked = false },
			"enable auto-merge of URL: it can be merged right now", "require a check or a review on main"},
		{"no right to merge", func(s *server, _ *github.PullRequest) {
			s.Allow(token, githubtest.Grant{Permissions: []string{"pull_requests"}})
		}, "enable auto-merge of URL: HOST answers: Resource not accessible by integration", "permissions: pull-requests: write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			p := full(s)
			tt.given(s, &p)
			url, created, err := s.client(t).Open(t.Context(), p)
			if url != url1 || !created || err == nil {
				t.Fatalf("%q, %v, %v", url, created, err)
			}
			want := strings.NewReplacer("URL", url1, "HOST", strings.TrimPrefix(s.URL, "http://")).Replace(tt.err)
			if !strings.HasPrefix(err.Error(), want) || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("%v (%s), want %s", err, fault.HintOf(err), want)
			}
			noSecret(t, err)
		})
	}
}

func TestOpenWithAForeignTeam(t *testing.T) {
	s := start(t)
	p := wanted
	p.Reviewers = []string{"others/platform"}
	if _, _, err := s.client(t).Open(t.Context(), p); fault.KindOf(err) != fault.Usage || len(s.Requests()) > 0 {
		t.Errorf("%v: want a usage error before anything is sent", err)
	}
}

func TestOpenWithoutTheRight(t *testing.T) {
	s := start(t)
	s.Allow(token, githubtest.Grant{Permissions: []string{"contents"}})
	_, _, err := s.client(t).Open(t.Context(), wanted)
	if hint := fault.HintOf(err); fault.KindOf(err) != fault.Denied || !strings.Contains(hint, "the permission pull_requests=write") || !strings.Contains(hint, "Allow GitHub Actions") {
		t.Errorf("%v (%s)", err, hint)
	}
}

// What the server says is not trusted to be harmless on a terminal.
func TestHostileWords(t *testing.T) {
	s := start(t)
	s.on(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Accepted-GitHub-Permissions", "contents=write; run this")
		answer(w, http.StatusForbidden, map[string]any{"message": "no\n::error::x\x1b[31m" + strings.Repeat("very ", 1000), "status": "403"})
		return true
	})
	_, _, err := s.client(t).Open(t.Context(), wanted)
	if text := err.Error() + fault.HintOf(err); strings.ContainsAny(text, "\n\x1b") || strings.Contains(text, "run this") || len(text) > 1200 {
		t.Errorf("%q", text)
	}
}

func TestClose(t *testing.T) {
	s := start(t)
	s.add("imgbump/api", "main", "", "", "acme")
	s.add("imgbump/api", "staging", "", "", "acme")
	s.add("imgbump/api", "main", "a fork's", "", "somebody")
	s.add("feature", "main", "", "", "acme")
	s.branch(t, "feature", "imgbump/api")
	s.branch(t, "staging", "main")
	c := s.client(t)
	close := func(base string, states ...string) {
		t.Helper()
		urls, err := c.Close(t.Context(), "acme", "gitops", base, "imgbump/api", "nothing is left to propose")
		if err != nil || len(urls) != 1 {
			t.Fatalf("%q, %v", urls, err)
		}
		var got []string
		for _, p := range s.repo.Pulls() {
			got = append(got, p.State+" "+strings.Join(p.Comments, ";"))
		}
		if diff := cmp.Diff(states, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	close("main", "closed nothing is left to propose", "open ", "open ", "open ")
	if _, err := s.git.Tip("imgbump/api"); err != nil {
		t.Error("another pull request has lost its branch")
	}
	close("staging", "closed nothing is left to propose", "closed nothing is left to propose", "open ", "open ")
	if at, err := s.git.Tip("imgbump/api"); err == nil {
		t.Errorf("our branch is still at %s", at)
	}

	if urls, err := c.Close(t.Context(), "acme", "gitops", "main", "feature", "superseded"); err != nil || len(urls) != 1 {
		t.Errorf("%q, %v", urls, err)
	}
	if _, err := s.git.Tip("feature"); err != nil {
		t.Error("a branch that is not ours was deleted")
	}
	s.Requests()
	if urls, err := c.Close(t.Context(), "acme", "gitops", "main", "imgbump/api", "again"); err != nil || urls != nil || len(s.Requests()) != 1 {
		t.Errorf("again: %q, %v", urls, err)
	}
}

// Settings may delete the branch with its pull request.
func TestCloseABranchThatIsGone(t *testing.T) {
	s := start(t)
	s.add("imgbump/gone", "main", "", "", "acme")
	s.branch(t, "imgbump/gone", "imgbump/api")
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			s.gitOut(t, "update-ref", "-d", "refs/heads/imgbump/gone")
		}
		return false
	})
	if urls, err := s.client(t).Close(t.Context(), "acme", "gitops", "main", "imgbump/gone", ""); err != nil || len(urls) != 1 {
		t.Errorf("%q, %v", urls, err)
	}
}

// Who commits to our branch has their work there, and the pull request for it. The button "Update branch" is no work.
func TestSomebodysCommits(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(s *server)
		ours bool
	}{
		{"a fixup", func(s *server) { s.commit(t, "imgbump/api", "fixup") }, false},
		{"our commit upon theirs", func(s *server) { s.commit(t, "imgbump/api", "fixup"); s.commit(t, "imgbump/api", message) }, true},
		{"a branch of theirs", func(s *server) { s.branch(t, "imgbump/api", "main"); s.commit(t, "imgbump/api", "theirs") }, false},
		{"an old commit of the base", func(s *server) { s.branch(t, "imgbump/api", "main"); s.commit(t, "main", "next") }, true},
		{"the base was merged into it", func(s *server) { s.commit(t, "main", "next"); s.merge(t, "main") }, true},
		{"twice", func(s *server) {
			s.commit(t, "main", "next")
			s.merge(t, "main")
			s.commit(t, "main", "next")
			s.merge(t, "main")
		}, true},
		{"another branch was merged into it", func(s *server) {
			s.branch(t, "feature", "main")
			s.commit(t, "feature", "theirs")
			s.merge(t, "feature")
		}, false},
		{"more than GitHub lists", func(s *server) {
			s.commit(t, "main", "next")
			s.merge(t, "main")
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				more := strings.Contains(r.URL.Path, "/compare/")
				if more {
					answer(w, http.StatusOK, map[string]any{"total_commits": 251, "commits": []any{}})
				}
				return more
			})
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			tt.make(s)
			before, _ := s.git.Tip("imgbump/api")
			s.add("imgbump/api", "main", "", "", "acme")
			commits, err := s.client(t).Propose(t.Context(), s.series(t, "imgbump/api"))
			now, _ := s.git.Tip("imgbump/api")
			if tt.ours != (err == nil) || tt.ours && now != commits[0] {
				t.Fatalf("%q, %v; it is at %s", commits, err, now)
			}
			if !tt.ours && (now != before || fault.KindOf(err) != fault.Failed || !strings.HasSuffix(err.Error(), "somebody else's commits are on it") || !strings.Contains(fault.HintOf(err), "--pr-branch")) {
				t.Errorf("%v (%s); it is at %s", err, fault.HintOf(err), now)
			}
			s.gitOut(t, "update-ref", "refs/heads/imgbump/api", before)
			urls, err := s.client(t).Close(t.Context(), "acme", "gitops", "main", "imgbump/api", "superseded")
			if err != nil || len(urls) != map[bool]int{true: 1}[tt.ours] {
				t.Errorf("closed %q, %v", urls, err)
			}
			if _, err := s.git.Tip("imgbump/api"); tt.ours == (err == nil) {
				t.Errorf("the branch afterwards: %v", err)
			}
		})
	}
}

// Between our look at a pull request and its end somebody commits to its branch.
func TestCloseLosesTheRace(t *testing.T) {
	s := start(t)
	s.add("imgbump/api", "main", "", "", "acme")
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/comments") {
			s.commit(t, "imgbump/api", "fixup")
		}
		return false
	})
	if urls, err := s.client(t).Close(t.Context(), "acme", "gitops", "main", "imgbump/api", "superseded"); err != nil || len(urls) != 1 {
		t.Errorf("%q, %v", urls, err)
	}
	if _, err := s.git.Tip("imgbump/api"); err != nil {
		t.Error("somebody's commit is gone")
	}
}

// commit is somebody's commit to a branch.
func (s *server) commit(t *testing.T, branch, message string) {
	t.Helper()
	if _, err := s.git.Commit(branch, message, fstest.MapFS{"notes": {Data: []byte(branch + message)}}); err != nil {
		t.Fatal(err)
	}
}

// merge merges a branch into imgbump/api, as GitHub's buttons do.
func (s *server) merge(t *testing.T, branch string) {
	t.Helper()
	made := s.gitOut(t, "commit-tree", "-p", "imgbump/api", "-p", branch, "-m", "Merge branch '"+branch+"' into imgbump/api", branch+"^{tree}")
	s.gitOut(t, "update-ref", "refs/heads/imgbump/api", made)
}

func TestHeads(t *testing.T) {
	s := start(t)
	var want []string
	for i := range 230 {
		head := fmt.Sprintf("imgbump/main/%03d", i)
		s.add(head, "main", "", "", "acme")
		s.add("feature/"+head, "main", "", "", "acme")
		s.add(head, "main", "", "", "somebody")
		want = append(want, head)
	}
	got, err := s.client(t).Heads(t.Context(), "acme", "gitops", "imgbump/main/")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d heads, want %d: %v", len(got), len(want), err)
	}
}

func TestWarning(t *testing.T) {
	for _, tt := range []struct {
		name, token string
		want        bool
	}{
		{"GITHUB_TOKEN", "ghs_abc", true},
		{"GITHUB_TOKEN", "ghp_abc", false},
		{"GITHUB_TOKEN", "github_pat_abc", false},
		{"IMGBUMP_TOKEN", "ghs_abc", false},
		{"GITHUB_TOKEN", "", false},
	} {
		if got := github.Warning(tt.name, tt.token); (got != "") != tt.want || strings.Contains(got, "abc") {
			t.Errorf("%s %s: %q", tt.name, tt.token, got)
		}
	}
}
