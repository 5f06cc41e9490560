// Package gittest is a real git server for tests and the demonstration: git's own http-backend, on the loopback
// address, with a hook to let somebody else push first.
package gittest

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Server. The zero value serves everybody.
type Options struct {
	Username, Password string // basic authentication; a Password alone goes with any name, as on GitHub
	// BeforePush is called with the repository's name before each push reaches git: the place to push something
	// else, so that the push in flight loses its race.
	BeforePush func(name string)
}

// Request is one line of the request log.
type Request struct {
	Method, URL   string
	Authorization string // as sent, so that a test can see who was shown a credential
}

// Server serves bare repositories over git's smart HTTP protocol. It is an http.Handler too, for tests that put
// TLS or a redirect in front of it.
type Server struct {
	URL string // http://127.0.0.1:PORT

	options  Options
	root     string
	backend  string
	http     *http.Server
	mu       sync.Mutex
	requests []Request
}

var execPath = sync.OnceValues(func() (string, error) { return Git("", "--exec-path") })

// Start serves an empty folder of repositories on a free port of 127.0.0.1 until Close. It needs git on PATH.
func Start(options Options) (*Server, error) {
	libexec, err := execPath()
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp("", "gittest-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for repositories: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), os.RemoveAll(root))
	}
	s := &Server{
		URL:     "http://" + listener.Addr().String(),
		options: options,
		root:    root,
		backend: filepath.Join(strings.TrimSpace(libexec), "git-http-backend"),
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go s.http.Serve(listener)
	return s, nil
}

// Close stops the server, waiting for requests under way, and removes its repositories.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(s.http.Shutdown(ctx), s.http.Close(), os.RemoveAll(s.root))
}

// Create makes an empty bare repository whose default branch is main. The name may hold slashes: "org/repo.git".
func (s *Server) Create(name string) (*Repository, error) {
	r := &Repository{Dir: filepath.Join(s.root, filepath.FromSlash(name)), URL: s.URL + "/" + name}
	if _, err := Git("", "init", "--quiet", "--bare", r.Dir); err != nil {
		return nil, err
	}
	config := "[http]\n\treceivepack = true\n[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n" +
		"[receive]\n\tadvertisePushOptions = true\n\tautogc = false\n"
	f, err := os.OpenFile(filepath.Join(r.Dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	_, err = f.WriteString(config)
	return r, errors.Join(err, f.Close())
}

// Copy makes a repository that is like another, faster than git could.
func (s *Server) Copy(name string, of *Repository) (*Repository, error) {
	r := &Repository{Dir: filepath.Join(s.root, filepath.FromSlash(name)), URL: s.URL + "/" + name}
	if err := os.CopyFS(r.Dir, os.DirFS(of.Dir)); err != nil {
		return nil, fmt.Errorf("copy a repository: %w", err)
	}
	return r, nil
}

// Requests is the log so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Method, r.URL.String(), r.Header.Get("Authorization")})
	s.mu.Unlock()
	if !s.allowed(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
		http.Error(w, "login needed", http.StatusUnauthorized)
		return
	}
	if err := measure(r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if name, push := strings.CutSuffix(r.URL.Path, "/git-receive-pack"); push && s.options.BeforePush != nil {
		s.options.BeforePush(strings.TrimPrefix(path.Clean(name), "/"))
	}
	(&cgi.Handler{
		Path: s.backend, Dir: s.root, Logger: log.New(io.Discard, "", 0), Stderr: io.Discard,
		Env: append(Env(), "GIT_PROJECT_ROOT="+s.root, "GIT_HTTP_EXPORT_ALL=1"),
	}).ServeHTTP(w, r)
}

func (s *Server) allowed(r *http.Request) bool {
	if s.options.Password == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	return (s.options.Username == "" || user == s.options.Username) &&
		subtle.ConstantTimeCompare([]byte(password), []byte(s.options.Password)) == 1
}

// measure gives a request of unknown length one, because a CGI program is told the length in advance; git sends
// large packs in chunks.
func measure(r *http.Request) error {
	if len(r.TransferEncoding) == 0 {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return err
}
