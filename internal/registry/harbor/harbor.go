// Package harbor asks Harbor for what a registry does not offer: projects, retention, scans, labels, garbage collection.
//
// Harbor's API v2.0 (api/v2.0/swagger.yaml of goharbor/harbor) needs a dozen calls here. The generated client brings 290
// packages and hides the error codes that tell Harbor's refusals apart, so the calls are made by hand. What Harbor
// answers is held by registrytest to the answers recorded from Harbor 2.16.
package harbor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry"
)

// Client speaks to one Harbor. It is safe for use by several goroutines.
type Client struct {
	host     string
	registry *registry.Client
	wait     func(context.Context, time.Duration) error
	most     int64 // bytes of one list

	mu  sync.Mutex
	api *registry.API
	do  *http.Client
}

// New is a client of the Harbor at host, spelled as in references. It reaches Harbor as client does, with the same login,
// and sends nothing before it is asked to.
func New(client *registry.Client, host string) *Client {
	return &Client{host: host, registry: client, wait: registry.Wait, most: maxList}
}

// Host is Harbor's host as in references.
func (c *Client) Host() string { return c.host }

// reach finds out once how Harbor wants to be spoken to. Redirects are not followed: after one, what was a DELETE may be
// a GET, which would succeed.
func (c *Client) reach(ctx context.Context) (*registry.API, *http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil {
		return c.api, c.do, nil
	}
	api, err := c.registry.API(ctx, c.host)
	if err != nil {
		return nil, nil, err
	}
	do := *api.HTTP
	do.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.api, c.do = api, &do
	return c.api, c.do, nil
}

// call is one request: what it does to where, as errors say it, and the statuses that mean success.
type call struct {
	what, where  string
	method, path string // the path below /api/v2.0, escaped
	query        url.Values
	header       http.Header
	body         any // sent as JSON, nil for none
	into         any // what the answer is decoded into, nil for nothing
	expect       int
	size         *atomic.Int64 // grows by the bytes of the answer; nil does not
}

// maxAnswer is how much of an answer is read, in bytes: reports of scans have some MiB.
const maxAnswer = 64 << 20

// send makes the call, again while that may help and does no harm, and returns the headers of the answer. An answer other
// than the one expected is an error with a *Refusal in its chain.
func (c *Client) send(ctx context.Context, r call) (http.Header, error) {
	var turns registry.Turns
	for {
		header, status, err := c.once(ctx, r)
		if err == nil || !r.repeats(status) {
			return header, err
		}
		pause, more := turns.Next(registry.RetryAfter(header, time.Now()))
		if !more || c.wait(ctx, pause) != nil {
			return header, err
		}
	}
}

// broken is the status when the connection broke before there was an answer.
const broken = -1

// repeats reports whether the call may be made again after an answer of the status: a POST only where it was not looked at.
func (r call) repeats(status int) bool {
	again := status == broken || status >= http.StatusInternalServerError
	return status == http.StatusTooManyRequests || again && r.method != http.MethodPost
}

// once makes the call once. The status is 0 when the call is not to be made again, whatever it is.
func (c *Client) once(ctx context.Context, r call) (header http.Header, status int, err error) {
	api, client, err := c.reach(ctx)
	if err != nil {
		return nil, 0, err
	}
	var body io.Reader
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return nil, 0, err
		}
		body = bytes.NewReader(raw)
	}
	address := api.Root.String() + "/api/v2.0" + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Is-Resource-Name", "true") // a project called 7 is not the one with the number 7
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for key, values := range r.header {
		req.Header[key] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, broken, api.Failed(ctx, r.what, r.where, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if r.size != nil {
		r.size.Add(int64(len(raw)))
	}
	switch {
	case err != nil:
		return nil, broken, api.Failed(ctx, r.what, r.where, err)
	case resp.StatusCode != r.expect:
		return resp.Header, resp.StatusCode, c.refused(r, resp, raw)
	case len(raw) > maxAnswer:
		return nil, 0, &fault.Error{What: r.what, Where: r.where, Err: fmt.Errorf("%s answers more than %d MiB", c.host, maxAnswer>>20)}
	case r.into == nil:
		return resp.Header, resp.StatusCode, nil
	}
	if err := json.Unmarshal(raw, r.into); err != nil {
		return nil, 0, c.strange(r, errors.New("not in Harbor's language"))
	}
	return resp.Header, resp.StatusCode, nil
}

// repositoryPath is the path of PROJECT/NAME. A NAME with slashes is escaped twice, as a proxy in front of Harbor undoes
// it once.
func repositoryPath(repository string) string {
	project, name, _ := strings.Cut(repository, "/")
	return "/projects/" + url.PathEscape(project) + "/repositories/" + url.PathEscape(url.PathEscape(name))
}

func artifactPath(repository, reference string) string {
	return repositoryPath(repository) + "/artifacts/" + url.PathEscape(reference)
}
