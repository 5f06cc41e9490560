package repo_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// tally is what was told of requests, in order.
type tally struct {
	mu   sync.Mutex
	told []string
}

func (l *tally) observe(host, operation string, status int, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, fmt.Sprintf("%s %s %d", host, operation, status))
	if took <= 0 {
		l.told = append(l.told, took.String())
	}
}

// What is told of is what the server saw.
func TestObserve(t *testing.T) {
	w := newWorld(t, gittest.Options{Password: secret})
	home := t.TempDir()
	w.write(home, ".netrc", "machine 127.0.0.1 login x-access-token password "+secret)
	dir := w.clone("--depth=1")
	w.push(tree())
	var l tally
	b, _ := w.openRemote(dir, repo.Options{Observe: l.observe, Getenv: func(name string) string { return map[string]string{"HOME": home}[name] }})
	_, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	host := strings.TrimPrefix(w.server.URL, "http://")
	var saw []string
	for _, r := range w.server.Requests() {
		operation, status := "fetch", http.StatusOK
		switch {
		case strings.Contains(r.URL, "/info/refs"):
			operation = "refs"
		case strings.HasSuffix(r.URL, "/git-receive-pack"):
			operation = "push"
		}
		if r.Authorization == "" {
			status = http.StatusUnauthorized
		}
		saw = append(saw, fmt.Sprintf("%s %s %d", host, operation, status))
	}
	w.equal("requests", l.told, saw)
}

func TestObserveNoAnswer(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.git(dir, "remote", "set-url", "origin", "http://127.0.0.1:1/app.git")
	var l tally
	b, _ := w.openRemote(dir, repo.Options{Observe: l.observe})
	if _, err := b.Tip(t.Context()); err == nil {
		t.Error("a server on port 1")
	}
	w.equal("requests", l.told, []string{"127.0.0.1:1 refs 0"})
}

func TestObserveAPI(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	var l tally
	r, _ := w.open(w.clone(), repo.Options{Observe: l.observe})
	api, err := url.Parse(w.server.URL)
	w.check(err)
	way, err := r.Transport(api)
	w.check(err)
	answer, err := (&http.Client{Transport: way}).Get(w.server.URL + "/repos")
	w.check(err)
	answer.Body.Close()
	w.equal("requests", l.told, []string{fmt.Sprintf("%s api %d", api.Host, answer.StatusCode)})
}

func TestObserveSSH(t *testing.T) {
	w := newSSHWorld(t)
	w.push(tree())
	o := w.options()
	var l tally
	o.Observe = l.observe
	b, _ := w.openRemote(w.dir, o)
	_, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("requests", l.told, []string{w.ssh.Address + " fetch 200", w.ssh.Address + " push 200"})
}
