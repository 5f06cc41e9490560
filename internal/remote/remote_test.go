package remote

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gittest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is a Client whose temporary files go to a folder that must be empty in the end.
func client(t *testing.T, env map[string]string) *Client {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	c := New(Options{Agent: "test/1", Getenv: func(name string) string {
		if value, ok := env[name]; ok {
			return value
		}
		return os.Getenv(name)
	}})
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
		c.Close()
	})
	return c
}

func TestFile(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.UserAgent()+" "+r.Header.Get("Accept-Encoding"))
		switch r.URL.Path {
		case "/from":
			http.Redirect(w, r, "/to", http.StatusFound)
		case "/to":
			w.Header().Set("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT")
			fmt.Fprint(w, "content")
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/short":
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "short")
		case "/big":
			w.Header().Set("Content-Length", "999999999999999")
		case "/silent":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	c := client(t, nil)
	f, modified, err := c.File(t.Context(), s.URL+"/from")
	must(t, err)
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	must(t, err)
	if string(text) != "content" || !modified.Equal(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("%q of %s", text, modified)
	}
	if d := cmp.Diff([]string{"/from test/1 ", "/to test/1 "}, asked); d != "" {
		t.Error(d)
	}
	defer func(d time.Duration) { patience = d }(patience)
	for path, want := range map[string]string{
		"/nothing": "the server answers 404 Not Found", "/loop": "more than 10 redirects", "/short": "unexpected EOF",
		"/big": "more than 68719476736 bytes", "/silent": "the server has said nothing for ",
	} {
		if patience = time.Minute; path == "/silent" {
			patience = time.Millisecond
		}
		_, _, err := c.File(t.Context(), s.URL+path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "fetch "+s.URL+path+": ") || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestOnce wants everybody who asks for the same to get the same, though it changes meanwhile.
func TestOnce(t *testing.T) {
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, asked.Add(1)) }))
	defer web.Close()
	s, err := gittest.Start(gittest.Options{})
	must(t, err)
	defer s.Close()
	r, _ := repository(t, s, "app.git", fstest.MapFS{"a": {}})
	c := client(t, nil)
	cloned, err := c.Clone(t.Context(), Repository{Address: r.URL})
	must(t, err)
	_, err = r.Commit("main", "second", fstest.MapFS{"b": {}})
	must(t, err)
	if again, err := c.Clone(t.Context(), Repository{Address: r.URL}); err != nil || again != cloned {
		t.Errorf("another clone, %v", err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if f, _, err := c.File(t.Context(), web.URL); err != nil {
				t.Error(err)
			} else if text, _ := io.ReadAll(io.NewSectionReader(f, 0, 100)); string(text) != "1" {
				t.Errorf("%q", text)
			}
		})
	}
	all.Wait()
}

// TestRedirectStaysSecret wants no file over https to come over http in the end.
func TestRedirectStaysSecret(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked over http") }))
	defer plain.Close()
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer s.Close()
	c := client(t, nil)
	c.http.Transport = s.Client().Transport
	if _, _, err := c.File(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), "from https to http://127.0.0.1") {
		t.Error(err)
	}
}

func repository(t *testing.T, s *gittest.Server, name string, files fstest.MapFS) (*gittest.Repository, string) {
	t.Helper()
	r, err := s.Create(name)
	must(t, err)
	sha, err := r.Commit("main", "first", files)
	must(t, err)
	return r, sha
}

func names(t *testing.T, r io.Reader) (all []string) {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		if !strings.HasPrefix(hdr.Name, ".git/") || hdr.Name == ".git/HEAD" {
			all = append(all, fmt.Sprintf("%o %d:%d %s%s", hdr.Mode, hdr.Uid, hdr.Gid, hdr.Name, hdr.Linkname))
		}
	}
}

func TestClone(t *testing.T) {
	s, err := gittest.Start(gittest.Options{})
	must(t, err)
	defer s.Close()
	r, first := repository(t, s, "app.git", fstest.MapFS{"a": {Data: []byte("1"), Mode: 0o755}, "sub/b": {Data: []byte("2")}})
	_, err = r.Commit("main", "second", fstest.MapFS{"a": {Data: []byte("3")}, "c": {Data: []byte("4")}})
	must(t, err)
	_, err = r.Commit("other", "third", fstest.MapFS{"o": {Data: []byte("5")}, "link": {Data: []byte("o"), Mode: fs.ModeSymlink | 0o777}})
	must(t, err)
	c := client(t, nil)
	for _, tt := range []struct {
		want Repository
		has  []string
	}{
		{Repository{}, []string{"644 0:0 a", "644 0:0 c", "755 0:0 sub/", "644 0:0 sub/b"}},
		{Repository{Ref: "other"}, []string{"777 0:0 linko", "644 0:0 o"}},
		{Repository{Ref: "refs/heads/other", Submodules: true}, []string{"777 0:0 linko", "644 0:0 o"}},
		{Repository{Ref: first}, []string{"755 0:0 a", "755 0:0 sub/", "644 0:0 sub/b"}},
		{Repository{Ref: first[:9], Commit: first, Subdir: "sub"}, []string{"644 0:0 b"}},
		{Repository{Ref: first, Subdir: "../../sub"}, []string{"644 0:0 b"}},
		{Repository{Ref: "other", KeepGitDir: true}, []string{"644 0:0 .git/HEAD", "777 0:0 linko", "644 0:0 o"}},
	} {
		tt.want.Address = r.URL
		f, err := c.Clone(t.Context(), tt.want)
		if err != nil {
			t.Errorf("%+v: %v", tt.want, err)
			continue
		}
		got := names(t, io.NewSectionReader(f, 0, 1<<30))
		slices.Sort(got)
		slices.Sort(tt.has)
		if d := cmp.Diff(tt.has, got); d != "" {
			t.Errorf("%+v: %s", tt.want, d)
		}
	}
	for _, tt := range []struct {
		want Repository
		says string
	}{
		{Repository{Address: r.URL, Ref: "nosuch"}, "there is no branch, tag or commit nosuch"},
		{Repository{Address: r.URL, Ref: "main", Commit: first}, "HEAD"},
		{Repository{Address: r.URL, Ref: "--upload-pack=touch x"}, "begins with a dash"},
		{Repository{Address: s.URL + "/nosuch.git"}, "git fetch: "},
		{Repository{Address: "file://" + r.Dir}, "transport 'file' not allowed"},
		{Repository{Address: "ext::sh -c date"}, "transport 'ext' not allowed"},
		{Repository{Address: r.URL, Subdir: "nosuch"}, "the folder nosuch: no such file"},
	} {
		_, err := c.Clone(t.Context(), tt.want)
		if tt.says == "HEAD" {
			tt.says = "not " + first
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.want, err)
		}
	}
}

// TestCloneIsGuarded wants a repository to bring no file of this machine along, and git to see no secret.
func TestCloneIsGuarded(t *testing.T) {
	s, err := gittest.Start(gittest.Options{})
	must(t, err)
	defer s.Close()
	other, sha := repository(t, s, "other.git", fstest.MapFS{"secret": {Data: []byte("x")}})
	_ = sha
	modules := "[submodule \"m\"]\n\tpath = m\n\turl = file://" + other.Dir + "\n"
	r, _ := repository(t, s, "app.git", fstest.MapFS{".gitmodules": {Data: []byte(modules)}, "a": {Data: []byte("1")}})
	bin := t.TempDir()
	log := filepath.Join(bin, "env")
	git, err := gittest.Git("", "--exec-path")
	must(t, err)
	script := fmt.Sprintf("#!/bin/sh\nenv >>%s\nexec %s/git \"$@\"\n", log, strings.TrimSpace(git))
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HARBOR_PASSWORD", "S3cret")
	c := client(t, nil)
	if _, err := c.Clone(t.Context(), Repository{Address: r.URL, Submodules: true}); err != nil {
		t.Error(err) // no gitlink, no submodule: the file alone does nothing
	}
	env, err := os.ReadFile(log)
	must(t, err)
	if strings.Contains(string(env), "S3cret") || !strings.Contains(string(env), "GIT_TERMINAL_PROMPT=0") {
		t.Errorf("%s", env)
	}
}

// TestCloneWithToken wants a token to open a private repository, and to go to its host only: not along with a redirect, nor to
// another host, nor into the clone.
func TestCloneWithToken(t *testing.T) {
	s, err := gittest.Start(gittest.Options{Password: "S3cret"})
	must(t, err)
	defer s.Close()
	r, _ := repository(t, s, "app.git", fstest.MapFS{"a": {Data: []byte("1")}})
	var asked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			asked.Store(true)
		}
		http.NotFound(w, r)
	}))
	defer other.Close()
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.String(), http.StatusFound)
	}))
	defer away.Close()
	c := client(t, nil)
	hosts := map[string]bool{strings.TrimPrefix(s.URL, "http://"): true, strings.TrimPrefix(away.URL, "http://"): true}
	c.options.GitToken = func(host string) string {
		if hosts[host] {
			return "S3cret"
		}
		return ""
	}
	f, err := c.Clone(t.Context(), Repository{Address: r.URL, KeepGitDir: true})
	must(t, err)
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	must(t, err)
	if strings.Contains(string(text), "S3cret") || strings.Contains(string(text), "Authorization") {
		t.Error("the clone holds the token")
	}
	for _, address := range []string{away.URL + "/app.git", other.URL + "/app.git"} {
		if _, err := c.Clone(t.Context(), Repository{Address: address}); err == nil || strings.Contains(err.Error(), "S3cret") || asked.Load() {
			t.Errorf("%s: %v; the other host was told the token: %t", address, err, asked.Load())
		}
	}
	if got := c.login("http://example.com/a.git"); got != nil {
		t.Errorf("a token over HTTP: %v", got)
	}
}

// TestCloneSilence wants a server that says nothing to hold nobody up, and git's own programs to end with git.
func TestCloneSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	left := make(chan struct{}, 2)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, conn)
				left <- struct{}{}
			}()
		}
	}()
	defer func(d time.Duration) { patience = d }(patience)
	for _, tt := range []struct {
		patience, timeout time.Duration
		says              string
	}{{3 * time.Second, time.Minute, "git has said nothing for 3s"}, {time.Minute, time.Second, "deadline exceeded"}} {
		patience = tt.patience
		ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
		_, err := client(t, nil).Clone(ctx, Repository{Address: "http://" + l.Addr().String() + "/a.git"})
		if cancel(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v, not %s", err, tt.says)
		}
		<-left
	}
}

func TestCloneWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := client(t, nil).Clone(t.Context(), Repository{Address: "https://example.com/a.git"})
	if err == nil || !strings.Contains(err.Error(), "no git program on PATH") || !strings.Contains(fault.HintOf(err), "install git") {
		t.Error(err)
	}
}
