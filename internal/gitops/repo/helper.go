package repo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/environ"
	"github.com/ksera524/imgbump/internal/leash"
)

const (
	helperTimeout = 20 * time.Second
	maxHelperSays = 64 << 10 // bytes
)

// helpers are git's credential helpers for one remote (gitcredentials), and the login that they gave.
type helpers struct {
	repo     *Repo
	commands []helper
	request  string // protocol, host and perhaps path
	host     string

	username, password string
	asked              bool
}

// helper is a command line for the shell, and what messages call it.
type helper struct{ name, command string }

// credentialHelpers are those that git would ask about the remote and that can run here; nil for none.
func (r *Repo) credentialHelpers(remote *url.URL) *helpers {
	h := &helpers{repo: r, host: remote.Host, username: remote.User.Username(), request: "protocol=" + remote.Scheme + "\nhost=" + remote.Host + "\n"}
	if strings.ContainsAny(remote.Host+remote.Path+h.username, "\r\n\x00") { // it could forge a line of the request
		return nil
	}
	for _, line := range r.config {
		if line.section != "credential" || line.key != "helper" || !urlMatches(line.subsection, remote) {
			continue
		}
		if line.value == "" {
			h.commands = nil
		} else if found, ok := findHelper(line.value); ok {
			h.commands = append(h.commands, found)
		}
	}
	if len(h.commands) == 0 {
		return nil
	}
	if isTrue(r.config.urlValue("credential", "usehttppath", remote)) {
		h.request += "path=" + strings.TrimPrefix(remote.Path, "/") + "\n"
	}
	if h.username == "" {
		h.username = r.config.urlValue("credential", "username", remote)
	}
	return h
}

// findHelper reads a value of credential.helper: a shell snippet behind "!", a program with arguments, or the name of
// one of git's own.
func findHelper(value string) (helper, bool) {
	if _, err := exec.LookPath("sh"); err != nil {
		return helper{}, false
	}
	if snippet, ok := strings.CutPrefix(value, "!"); ok {
		return helper{"a shell snippet", snippet}, true
	}
	program, _, _ := strings.Cut(value, " ")
	if filepath.IsAbs(program) {
		return helper{filepath.Base(program), value}, true
	}
	_, err := exec.LookPath("git")
	return helper{program, "git credential-" + value}, err == nil
}

// ask replaces a login that the server did not accept, or that is missing, by one of git's credential helpers', once.
func (s *server) ask(ctx context.Context) bool {
	h := s.helpers
	if h == nil || h.asked {
		return false
	}
	h.asked = true
	for _, command := range h.commands {
		for key, value := range h.run(ctx, command, "get") {
			switch key {
			case "username":
				h.username = value
			case "password":
				h.password = value
			case "quit":
				return false
			}
		}
		if h.username != "" && h.password != "" {
			h.repo.mask(h.password)
			s.login = login{header: basic(h.username, h.password), origin: "the login for " + h.host + " from git's credential helper (" + command.name + ")"}
			return true
		}
	}
	return false
}

// tell lets the helpers keep a login that worked, and forget one that did not.
func (h *helpers) tell(ctx context.Context, err error) {
	operation := "store"
	if errors.Is(err, transport.ErrAuthenticationRequired) {
		operation = "erase"
	} else if err != nil {
		return
	}
	for _, command := range h.commands {
		h.run(ctx, command, operation)
	}
}

// run gives a helper a request in bounded time and reads its answer, of which nothing is ever shown. A failure is an
// empty answer, as for git.
func (h *helpers) run(ctx context.Context, command helper, operation string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	request := h.request
	if h.username != "" {
		request += "username=" + h.username + "\n"
	}
	if h.password != "" {
		request += "password=" + h.password + "\n"
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", command.command+" "+operation)
	cmd.Dir, cmd.Env, cmd.Stdin = h.repo.root, childEnv(environ.IsOurs), strings.NewReader(request+"\n")
	leash.Put(cmd)
	var said bytes.Buffer
	cmd.Stdout = &limitedWriter{&said, maxHelperSays}
	if cmd.Run() != nil {
		return nil
	}
	answer := map[string]string{}
	for line := range strings.Lines(said.String()) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			answer[key] = value
		}
	}
	return answer
}

// limitedWriter fails when more than it has left is written.
type limitedWriter struct {
	io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, io.ErrShortWrite
	}
	return l.Writer.Write(p)
}
