package repo_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// heavy adds commits to a branch that no bump needs, of 64 KiB that cannot be compressed, and one that it does.
func (w *world) heavy(branch string, commits int) {
	w.Helper()
	add := func(message string, files fstest.MapFS) {
		_, err := w.remote.Commit(branch, message, files)
		w.check(err)
	}
	for i := range commits {
		var data []byte
		for j := range 2048 {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", branch, i, j))
			data = append(data, sum[:]...)
		}
		add("old", fstest.MapFS{"big": {Data: data}})
	}
	files := tree()
	files["big"] = &fstest.MapFile{Data: []byte("small")}
	add("the last", files)
}

// watch puts a server before the one of a checkout that tells of each fetch whether it was for one commit only, and
// objects to what is large.
func (w *world) watch(dir string) *strings.Builder {
	var fetches strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.expect(err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		w.server.ServeHTTP(answer, r)
		if strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
			fetches.WriteString(map[bool]string{true: "shallow, ", false: "deep, "}[bytes.Contains(body, []byte("deepen 1"))])
		}
		if size := answer.Body.Len(); size > 32<<10 {
			w.Errorf("%s %s: %d bytes", r.Method, r.URL, size)
		}
		maps.Copy(rw.Header(), answer.Header())
		rw.WriteHeader(answer.Code)
		rw.Write(answer.Body.Bytes())
	}))
	w.Cleanup(server.Close)
	w.git(dir, "remote", "set-url", "origin", server.URL+"/org/app.git")
	return &fetches
}

// History is fetched only where the checkout has some of the branch to go on from.
func TestFetchLeavesHistoryOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		clone  []string
		branch string
		before func(w *world, dir string)
	}{
		{"another branch of a shallow checkout", []string{"--depth=1"}, "other", func(*world, string) {}},
		{"another branch of a full checkout", []string{"--single-branch"}, "other", func(*world, string) {}},
		{"a shallow checkout of a branch that was replaced", []string{"--depth=1"}, "main", func(w *world, dir string) {
			w.git(w.remote.Dir, "update-ref", "refs/heads/main", "refs/heads/other")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.heavy("other", 8)
			dir := w.clone(tt.clone...)
			tt.before(w, dir)
			fetches := w.watch(dir)
			r, _ := w.open(dir, repo.Options{})
			b, err := r.Remote("origin", tt.branch)
			w.check(err)
			for i := range 3 { // the second time upon a commit of ours, the third upon somebody else's
				if i == 2 {
					_, err := w.remote.Commit(tt.branch, "theirs", fstest.MapFS{"README": {Data: []byte("new")}})
					w.check(err)
				}
				commit, err := bump(t.Context(), b, fmt.Sprint("app:", i+1), fmt.Sprint("app:", i+2))
				w.check(err)
				tip, err := w.remote.Tip(tt.branch)
				w.check(err)
				w.equal("tip", tip, commit)
			}
			w.equal("fetches", fetches.String(), "shallow, shallow, ")
			w.sound(dir)
			w.equal("history", strings.Count(w.git(w.remote.Dir, "log", "--format=%s", tt.branch), "bump app:"), 3)
		})
	}
}

// What a pull request's branch was is of no interest.
func TestProposalLeavesHistoryOut(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.heavy("other", 8)
	_, err := w.remote.Commit("other", "ours\n\nImgbump: v1", fstest.MapFS{"README": {Data: []byte("ours")}})
	w.check(err)
	dir := w.clone("--single-branch")
	fetches := w.watch(dir)
	b, _ := w.openRemote(dir, repo.Options{})
	p, err := b.Propose("other", "")
	w.check(err)
	commit, err := bump(t.Context(), p, "app:1", "app:2")
	w.check(err)
	tip, err := w.remote.Tip("other")
	w.check(err)
	w.equal("tip", tip, commit)
	w.equal("fetches", fetches.String(), "shallow, ")
}

func TestFetchIsBounded(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.heavy("main", 1)
	repo.LimitAnswers(t, 32<<10)
	b, _ := w.openRemote(dir, repo.Options{})
	_, err := b.Tip(t.Context())
	if fault.KindOf(err) != fault.Failed || !strings.Contains(message(err), w.remote.URL) || !strings.HasSuffix(message(err), "it sends more at once than a bump can need") || !strings.Contains(fault.HintOf(err), "check out") {
		t.Errorf("err %v, hint %q", err, fault.HintOf(err))
	}
}
