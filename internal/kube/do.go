package kube

import (
	"context"
	"net/http"
	"path"
)

// Do sends a request to the API server, whose address and login it is given; what it is for is said by errors: "read
// application shop". The answer is the caller's to close, whatever its status. Nothing but the request's context limits the
// time.
func (c *Cluster) Do(r *http.Request, what, where string) (*http.Response, error) {
	target := *c.server
	target.Path, target.RawQuery = path.Join("/", target.Path, r.URL.Path), r.URL.RawQuery
	r.URL, r.Host = &target, ""
	c.sign(r)
	resp, err := c.http.Do(r)
	if err == nil {
		return resp, nil
	}
	if cause := context.Cause(r.Context()); cause != nil && r.Context().Err() == context.Canceled {
		return nil, cause
	}
	return nil, c.unreachable(what, where, err)
}

// Host is the API server's.
func (c *Cluster) Host() string { return c.server.Host }

// From says where the access was configured.
func (c *Cluster) From() string { return c.from }
