package registry

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/imageref"
)

// Bearer reports whether we have a login for a registry, and the registry takes tokens.
func (c *Client) Bearer(ctx context.Context, host string) bool {
	s, err := c.session(ctx, host)
	if err != nil {
		return false
	}
	login, err := authn.Authorization(ctx, s.auth)
	return err == nil && !isNobody(login) && strings.EqualFold(s.challenge.Scheme, "bearer")
}

// Token is a token for scopes, as "repository:team/app:pull", for somebody else to use. It is good for a quarter of its
// life at least.
func (c *Client) Token(ctx context.Context, host string, scopes []string) (string, error) {
	s, err := c.session(ctx, host)
	if err != nil {
		return "", err
	}
	return s.token(ctx, scopes)
}

// Password is the login for a registry that takes nothing but a password, for somebody else to use; empty without one.
func (c *Client) Password(ctx context.Context, host string) (username, password string, err error) {
	s, err := c.session(ctx, host)
	if err != nil || !strings.EqualFold(s.challenge.Scheme, "basic") {
		return "", "", err
	}
	login, err := authn.Authorization(ctx, s.auth)
	if err != nil {
		return "", "", err
	}
	return login.Username, login.Password, nil
}

// Has reports whether the repository of ref has a blob. Whoever may not push there hears no.
func (c *Client) Has(ctx context.Context, ref imageref.Ref, digest string) bool {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return false
	}
	s, err := c.session(ctx, ref.Host())
	if err != nil {
		return false
	}
	repository := pathOf(ref)
	d := &destination{session: s, repository: repository, refs: []imageref.Ref{ref}, scopes: []string{pushing(repository)}}
	there, err := d.exists(ctx, hash, -1)
	return err == nil && there
}
