package repo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

// explain says what a failed exchange means: which server, which credential, what to do. It never repeats what the
// server wrote in a page of its own.
func (s *server) explain(ctx context.Context, err error) error {
	f := &fault.Error{What: "reach", Where: s.url, Err: foreign{cause(err)}}
	_, unknownCA := errors.AsType[x509.UnknownAuthorityError](f.Err)
	_, network := errors.AsType[net.Error](f.Err)
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired) && s.login.header == "":
		f.Kind, f.Err = fault.Denied, errors.New("a login is needed, and there is none for this host")
		f.Hint = "set IMGBUMP_TOKEN (GITHUB_TOKEN for GitHub's own host), or let actions/checkout keep its credentials"
	case errors.Is(err, transport.ErrAuthenticationRequired):
		f.Kind, f.Err = fault.Denied, fmt.Errorf("the server does not accept %s", s.login.origin)
		f.Hint = "check that it has not expired, and that it belongs to this server"
	case errors.Is(err, transport.ErrAuthorizationFailed):
		f.Kind, f.Err = fault.Denied, fmt.Errorf("no right to write, with %s", s.login.origin)
		f.Hint = "a GitHub workflow needs `permissions: contents: write`; its GITHUB_TOKEN reaches its own repository only"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		f.Err = fmt.Errorf("no such repository, or it is hidden from %s", s.login.origin)
		f.Hint = "check the address, and that the credential may read it"
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		f.Err, f.Hint = errUnborn, "push a first commit"
	case errors.Is(err, errTooMuch):
		f.Hint = "check out the branch itself beforehand, so that less has to be fetched"
	case errors.Is(err, exec.ErrNotFound):
		f.Err = errors.New("a repository on this machine is served by git, which is not on PATH")
		f.Hint = "install git, or use the repository's https:// address"
	case unknownCA:
		f.Hint = "name the file of the server's CA certificate"
	case context.Cause(ctx) != nil:
		f.Err = context.Cause(ctx)
	case network:
		f.Hint = "check that the server is up, and reachable from here"
	}
	return f
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
