package repo

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// observed tells of each request that goes out: a redirect and a repeated one are their own.
type observed struct {
	http.RoundTripper
	tell      func(host, operation string, status int, took time.Duration)
	operation func(*http.Request) string
}

func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := o.RoundTripper.RoundTrip(r)
	status := 0
	if err == nil {
		status = answer.StatusCode
	}
	o.tell(r.URL.Host, o.operation(r), status, time.Since(began))
	return answer, err
}

// observe is the way to a web server, whose requests are told of if somebody wants to know.
func (r *Repo) observe(web http.RoundTripper, operation func(*http.Request) string) http.RoundTripper {
	if r.options.Observe == nil {
		return web
	}
	return observed{web, r.options.Observe, operation}
}

// gitOperation is what a request is for, by its path (gitprotocol-http).
func gitOperation(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		return "refs"
	case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
		return "push"
	}
	return "fetch"
}

func apiOperation(*http.Request) string { return "api" }

// observeSSH tells of each command that runs on a server. One that began counts as answered well: SSH has no status.
func (r *Repo) observeSSH(host string, run commands) commands {
	if r.options.Observe == nil {
		return run
	}
	return func(ctx context.Context, service string) (*process, error) {
		began := time.Now()
		p, err := run(ctx, service)
		operation, status := "fetch", http.StatusOK
		if service == "git-receive-pack" {
			operation = "push"
		}
		if err != nil {
			status = 0
		}
		r.options.Observe(host, operation, status, time.Since(began))
		return p, err
	}
}
