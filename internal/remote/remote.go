// Package remote fetches what a build names by address: files over HTTP, and repositories with the git
// program. No credential is sent anywhere but a token of git's to its host, and what was fetched leaves nothing behind.
package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// Options of a Client.
type Options struct {
	Agent  string         // as servers are told
	Roots  *x509.CertPool // certificate authorities that are trusted, nil for the system's
	Getenv func(string) string

	// GitToken is the token for a host's repositories over HTTP, "" without one; HOST[:PORT]. It may be nil.
	GitToken func(host string) string
}

// Client fetches, several things at a time, and the same thing once. Close ends the use of all that it gave.
type Client struct {
	options Options
	http    *http.Client
	file    func(ctx context.Context, address string) (file, error)
	clone   func(ctx context.Context, r Repository) (*os.File, error)

	mu    sync.Mutex
	files []*os.File
}

const (
	maxRedirects = 10
	maxSize      = 64 << 30 // of a file, in bytes
)

// patience is how long a server may say nothing. A test shortens it.
var patience = time.Minute

// New is a client. Proxies are those of the environment.
func New(o Options) *Client {
	c := &Client{options: o, http: &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: patience,
			DisableCompression: true, // an archive is wanted as it is
			TLSClientConfig:    &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		},
	}}
	c.file, c.clone = once(c.fetch), once(c.cloned)
	return c
}

// once does what it is to do once for each key.
func once[K comparable, V any](do func(context.Context, K) (V, error)) func(context.Context, K) (V, error) {
	var mu sync.Mutex
	known := map[K]func() (V, error){}
	return func(ctx context.Context, key K) (V, error) {
		mu.Lock()
		if known[key] == nil {
			known[key] = sync.OnceValues(func() (V, error) { return do(ctx, key) })
		}
		done := known[key]
		mu.Unlock()
		return done()
	}
}

// checkRedirect keeps what was asked for privately private.
func checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("there are more than %d redirects", maxRedirects)
	case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
		return fmt.Errorf("it redirects from https to %s://%s", r.URL.Scheme, r.URL.Host)
	}
	r.Header.Del("Referer") // which would tell the next server the path on this one
	return nil
}

// Spool keeps what r gives, to its end.
func (c *Client) Spool(r io.Reader) (*os.File, error) {
	return c.spool(func(w io.Writer) error { return bounded(w, r) })
}

// bounded copies at most maxSize bytes.
func bounded(to io.Writer, from io.Reader) error {
	n, err := io.Copy(to, io.LimitReader(from, maxSize+1))
	if err == nil && n > maxSize {
		err = fmt.Errorf("it has more than %d bytes", int64(maxSize))
	}
	return err
}

// secretless refuses an address over HTTP with a login in it.
func secretless(address string) error {
	if u, err := url.Parse(address); err == nil && u.User != nil && strings.HasPrefix(u.Scheme, "http") {
		return errors.New("the address has a login in it, which everybody who sees the command or the Dockerfile could read")
	}
	return nil
}

// Close gives back the disk space of what was fetched.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	return errors.Join(errs...)
}

// File is what is at an http or https address, in a file without a name, and when it was changed last, zero if the
// server does not say.
func (c *Client) File(ctx context.Context, address string) (*os.File, time.Time, error) {
	if err := secretless(address); err != nil {
		return nil, time.Time{}, &fault.Error{What: "fetch", Where: fault.Address(address), Hint: "fetch it beforehand", Err: err}
	}
	f, err := c.file(ctx, address)
	if err != nil {
		return nil, time.Time{}, &fault.Error{What: "fetch", Where: fault.Address(address), Hint: "check the address with a browser or curl", Err: err}
	}
	return f.content, f.modified, nil
}

// file is one that was fetched.
type file struct {
	content  *os.File
	modified time.Time // zero if the server does not say
}

func (c *Client) fetch(ctx context.Context, address string) (f file, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(patience, func() { cancel(fmt.Errorf("the server has said nothing for %s", patience)) })
	defer silence.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return f, err
	}
	request.Header.Set("User-Agent", c.options.Agent)
	answer, err := c.http.Do(request)
	if err != nil {
		var asking *url.Error // which tells the address again
		if errors.As(err, &asking) {
			err = asking.Err
		}
		return f, errors.Join(context.Cause(ctx), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return f, fmt.Errorf("the server answers %s", answer.Status)
	}
	if answer.ContentLength > maxSize {
		return f, fmt.Errorf("it has more than %d bytes", int64(maxSize))
	}
	f.modified, _ = http.ParseTime(answer.Header.Get("Last-Modified"))
	f.content, err = c.spool(func(w io.Writer) error {
		return errors.Join(bounded(w, heard{answer.Body, silence}), context.Cause(ctx))
	})
	return f, err
}

// heard is a body that puts off the end of patience with every byte.
type heard struct {
	io.Reader
	silence *time.Timer
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.silence.Reset(patience)
	}
	return n, err
}

// spool is a file with what write writes. It has no name any more when that begins, so that nothing can leave it behind.
func (c *Client) spool(write func(io.Writer) error) (*os.File, error) {
	f, err := os.CreateTemp("", "fetched-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		err = write(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = append(c.files, f)
	return f, nil
}
