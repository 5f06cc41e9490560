package repo_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// dropping puts a server before the real one that ends the connection at one request: before it is answered, in the
// middle of the answer, or after the work was done.
func (w *world) dropping(request int64, moment string) string {
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		drop := count.Add(1) == request
		if drop && moment == "before" {
			panic(http.ErrAbortHandler)
		}
		answer := httptest.NewRecorder()
		w.server.ServeHTTP(answer, r)
		if drop && moment == "after" {
			panic(http.ErrAbortHandler)
		}
		body := answer.Body.Bytes()
		maps.Copy(rw.Header(), answer.Header())
		rw.WriteHeader(answer.Code)
		if drop {
			rw.Write(body[:len(body)/2])
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		rw.Write(body)
	}))
	w.Cleanup(server.Close)
	return server.URL + "/org/app.git"
}

// Wherever a connection ends, the bump is done or nothing has happened, here and there, and the error says which.
func TestDroppedConnections(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"before", "middle", "after"} {
		for request := int64(1); request <= 6; request++ {
			t.Run(fmt.Sprintf("%s request %d", moment, request), func(t *testing.T) {
				w := newWorld(t, gittest.Options{})
				dir := w.clone("--depth=1")
				w.push(fstest.MapFS{"apps/b/dep.yaml": {Data: []byte("# newer\nimage: registry.example.com/app:1\n")}})
				w.git(dir, "remote", "set-url", "origin", w.dropping(request, moment))
				state := w.state(dir)
				b, _ := w.openRemote(dir, repo.Options{})
				w.doneOrNot(func() (string, error) { return bump(t.Context(), b, "app:1", "app:2") })
				w.equal("state", w.state(dir), state)

				remote, _ := w.noCheckout(w.dropping(request, moment), "main")
				remote.Expect([]string{"apps"})
				w.doneOrNot(func() (string, error) { return bump(t.Context(), remote, "app:", "app:3", "apps") })
			})
		}
	}
}

// doneOrNot checks that a bump is on the server, or has failed.
func (w *world) doneOrNot(bump func() (string, error)) {
	w.Helper()
	want, err := w.remote.Tip("main")
	w.check(err)
	commit, err := bump()
	if err == nil {
		want = commit
	}
	tip, lost := w.remote.Tip("main")
	w.check(lost)
	if tip != want {
		w.Errorf("the server is at %s, and the bump said %s, %v", tip, commit, err)
	}
	w.check(w.remote.Fsck())
}
