package repo

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/openssh"
)

// dialSSH prepares a server that is reached by SSH. GIT_SSH_COMMAND and core.sshCommand are followed as far as they
// only set ssh's options, which is what actions/checkout leaves.
func (r *Repo) dialSSH(remote *url.URL) (*server, error) {
	options := r.options.SSH
	options.Getenv, options.Warn = r.options.Getenv, r.options.Warn
	options.Command = cmp.Or(r.options.Getenv("GIT_SSH_COMMAND"), r.config.value("core", "", "sshcommand"))
	if options.Command == "" && r.options.Getenv("GIT_SSH") != "" {
		r.options.Warn("GIT_SSH is not followed: SSH is spoken without another program")
	}
	client, err := openssh.New(openssh.Address{User: remote.User.Username(), Host: remote.Hostname(), Port: remote.Port()}, options)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, client.Close)
	bare := url.URL{Scheme: "ssh", Host: remote.Host, Path: "/" + strings.TrimPrefix(remote.Path, "/")}
	if user := remote.User.Username(); user != "" {
		bare.User = url.User(user)
	}
	return &server{
		url: bare.String(), ssh: client, client: r.observeSSH(remote.Host, sshCommands(client, remote.Path)),
		endpoint: &transport.Endpoint{Protocol: "ssh", Host: remote.Host, Path: remote.Path},
	}, nil
}

// sshCommands runs git's services on a repository of an SSH server.
func sshCommands(client *openssh.Client, path string) commands {
	return func(ctx context.Context, service string) (*process, error) {
		s, err := client.Run(ctx, service+" "+shellQuoted(path))
		if err != nil {
			return nil, err
		}
		wait := func() error {
			err := s.Wait()
			if exit, ok := errors.AsType[*openssh.ExitError](err); ok {
				return &endError{exit.Status, exit.Stderr}
			}
			return err
		}
		return &process{in: s.Stdin, out: s.Stdout, until: s.Until, wait: wait, close: s.Close}, nil
	}
}

// shellQuoted is a path as one word of a shell, as git writes it: "!" apart for the sake of csh.
func shellQuoted(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}
