package repo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

// explain says what a failed exchange means: which server, which credential, what to do. It never repeats what the
// server wrote in a page of its own.
func (s *server) explain(ctx context.Context, err error) error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	f := &fault.Error{What: "reach", Where: s.url, Err: foreign{cause(err)}}
	_, network := errors.AsType[net.Error](f.Err)
	switch {
	case s.explainLogin(f, err), s.explainEnd(f, err), s.explainTLS(f), explainProxy(f):
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		f.Err, f.Hint = errUnborn, "push a first commit"
	case errors.Is(err, errNoGit):
		f.Err, f.Hint = errNoGit, "check the address: https://github.com/OWNER/NAME.git, for example"
	case errors.Is(err, sha256):
		f.Err = sha256
	case errors.Is(err, errTooMuch):
		f.Hint = "check out the branch itself beforehand, so that less has to be fetched"
	case errors.Is(err, exec.ErrNotFound):
		f.Err = errors.New("a repository on this machine is served by git, which is not on PATH")
		f.Hint = "install git, or use the repository's https:// address"
	case context.Cause(ctx) != nil:
		f.Err = context.Cause(ctx)
	case network:
		f.Hint = "check that the server is up, and reachable from here"
	}
	return f
}

// explainLogin is about 401, 403 and 404.
func (s *server) explainLogin(f *fault.Error, err error) bool {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired) && s.login.header == "":
		f.Kind, f.Err = fault.Denied, errors.New("a login is needed, and there is none for this host")
		f.Hint = "set IMGBUMP_TOKEN (GITHUB_TOKEN for GitHub's own host), or let actions/checkout keep its credentials; .netrc and git's credential helpers work too"
	case errors.Is(err, transport.ErrAuthenticationRequired):
		f.Kind, f.Err = fault.Denied, fmt.Errorf("the server does not accept %s", s.credential())
		f.Hint = "check that it has not expired, and that it belongs to this server"
	case errors.Is(err, transport.ErrAuthorizationFailed):
		f.Kind, f.Err = fault.Denied, fmt.Errorf("no right to write, with %s", s.credential())
		f.Hint = "a GitHub workflow needs `permissions: contents: write`; its GITHUB_TOKEN reaches its own repository only"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		f.Err = fmt.Errorf("no such repository, or it is hidden from %s", s.credential())
		f.Hint = "check the address, and that the credential may read it: servers hide a private repository from those who may not"
	default:
		return false
	}
	return true
}

// Words of servers that end a service: to those who may not write, and to those who may not even read. There
// is no other sign than words.
var (
	denying = []string{"denied", "read only", "read-only", "not allowed", "not granted", "does not have write access", "not authorized", "forbidden"}
	hiding  = []string{"not found", "could not be found", "does not appear to be a git repository", "does not exist", "no such"}
)

// explainEnd is about the early end of git's service, over SSH or on this machine.
func (s *server) explainEnd(f *fault.Error, err error) bool {
	exit, ok := errors.AsType[*endError](err)
	if !ok {
		return false
	}
	words := strings.ToLower(exit.said)
	contains := func(signs []string) bool {
		return slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(words, sign) })
	}
	switch {
	case s.ssh == nil:
		f.Err, f.Hint = exit, "check the path"
	case contains(denying):
		f.Kind, f.Err = fault.Denied, fmt.Errorf("no right, with %s", s.credential())
		f.Hint = "let the key write: on GitHub a deploy key with write access, or a key of a user who may push"
	case contains(hiding):
		f.Err = fmt.Errorf("no such repository, or it is hidden from %s", s.credential())
		f.Hint = "check the address, and that the key may read it"
	default:
		f.Err = fmt.Errorf("%w, logged in with %s", exit, s.credential())
	}
	if said := printable(exit.said); said != "" {
		f.Err = fmt.Errorf("%w; the server says: %s", f.Err, said)
	}
	return true
}

// explainTLS is about certificates.
func (s *server) explainTLS(f *fault.Error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](f.Err); !ok {
		return false
	}
	f.Hint = "it is not the server's address that the certificate is for, or the certificate has run out: ask the server's owner"
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](f.Err); unknown {
		f.Hint = "name the file of the server's CA certificate: --git-ca-file, or git's http.sslCAInfo"
	}
	if s.unverified {
		f.Hint = "http.sslVerify=false is not followed; " + f.Hint
	}
	return true
}

// explainProxy is about a proxy on the way.
func explainProxy(f *fault.Error) bool {
	if refused, ok := errors.AsType[*proxyError](f.Err); ok {
		f.Err, f.Hint = refused, "let the proxy reach the server, or name the server in NO_PROXY"
		if refused.status == http.StatusProxyAuthRequired {
			f.Hint = "put the proxy's login into its address: http://USER:PASSWORD@HOST:PORT"
		}
		return true
	}
	op, ok := errors.AsType[*net.OpError](f.Err)
	if !ok || op.Op != "proxyconnect" {
		return false
	}
	f.Err = fmt.Errorf("the proxy cannot be reached: %w", op.Err)
	f.Hint = "check the proxy that git's http.proxy or HTTPS_PROXY names, or name the server in NO_PROXY"
	return true
}

// foreign is an error that may hold a server's words.
type foreign struct{ error }

func (f foreign) Error() string { return printable(f.error.Error()) }
func (f foreign) Unwrap() error { return f.error }

// cause takes away go-git's wrapping, which hides what is inside from errors.Is and As, and the URL, which explain
// names itself.
func cause(err error) error {
	if unexpected, ok := errors.AsType[*plumbing.UnexpectedError](err); ok {
		err = unexpected.Err
	}
	if permanent, ok := errors.AsType[*plumbing.PermanentError](err); ok {
		err = permanent.Err
	}
	if web, ok := errors.AsType[*url.Error](err); ok {
		err = web.Err
	}
	return err
}
