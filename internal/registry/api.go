package registry

import (
	"context"
	"net/http"
	"net/url"
)

// API is the way to what a registry's host serves beside the registry, such as Harbor's own API. HTTP logs in with each
// request, to that host only, and keeps no cookie: with a session's cookie Harbor asks for a CSRF token too.
type API struct {
	Root *url.URL // scheme and host
	HTTP *http.Client

	session *session
}

// API greets the registry at host, which is spelled as in references.
func (c *Client) API(ctx context.Context, host string) (*API, error) {
	s, err := c.session(ctx, host)
	if err != nil {
		return nil, err
	}
	authorization, err := s.basic(ctx)
	if err != nil {
		return nil, s.failed(ctx, "log in to", host, err)
	}
	return &API{Root: s.home(), HTTP: &http.Client{Transport: ownHost{inner: s.http, home: s.home(), authorization: authorization}}, session: s}, nil
}

// Failed says what an error of HTTP means: what could not be done, on what, why, and what to do next.
func (a *API) Failed(ctx context.Context, what, where string, err error) error {
	return a.session.failed(ctx, what, where, err)
}
