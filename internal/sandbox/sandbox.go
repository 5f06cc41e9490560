// Package sandbox runs the RUN steps of a build, each in a root filesystem of its own, without a daemon: it starts one
// process with root's rights, which keeps the layers on disk and lets nothing of a step stay behind.
package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
)

// The engines, in the order in which they are tried.
const (
	UserNamespace = "userns" // namespaces and overlayfs
	Chroot        = "chroot" // no mounts: copies, chroot, and a walk for what has changed
)

// Options are how a Sandbox works.
type Options struct {
	Isolation string       // UserNamespace or Chroot, "" for the first that works here
	Folder    string       // where layers are kept while the build lasts, "" for the first folder that an engine can use
	Remove    []string     // folders that are gone with the sandbox, also when this process is killed; nobody else's
	Chosen    func(string) // is told once, in one line, which engine was chosen and why; may be nil
}

// Sandbox keeps layers and runs steps on them, as the interface dockerfile.Sandbox asks. What it keeps is gone after Close,
// and also when this process ends without it.
type Sandbox struct {
	options Options

	mu     sync.Mutex
	closed bool
	keeper *keeper
	err    error // why there is no keeper
}

// New is a sandbox that starts nothing before it is first used.
func New(options Options) *Sandbox { return &Sandbox{options: options} }

// Probe tells whether steps can be run here: nil, or a *fault.Error with what each engine failed at and how to allow it.
func (s *Sandbox) Probe(ctx context.Context) error {
	_, err := s.start(ctx)
	return err
}

func (s *Sandbox) start(ctx context.Context) (*keeper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the sandbox is closed")
	}
	if s.keeper == nil && s.err == nil {
		s.keeper, s.err = startKeeper(ctx, s.options)
		if ctx.Err() != nil {
			err := s.err
			s.err = nil // which says nothing about the next try
			return s.keeper, err
		}
	}
	return s.keeper, s.err
}

// Close ends every step that still runs and removes all layers.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.keeper == nil {
		return nil
	}
	err := s.keeper.stop()
	s.keeper = nil
	return err
}

// Unpack makes the layer id of tars, each on top of those before it.
func (s *Sandbox) Unpack(ctx context.Context, id string, layers ...io.Reader) error {
	return s.send(ctx, wire.LayerPath, id, layers...)
}

// LoadCache makes the cache id of a tar.
func (s *Sandbox) LoadCache(ctx context.Context, id string, content io.Reader) error {
	return s.send(ctx, wire.CachePath, id, content)
}

func (s *Sandbox) send(ctx context.Context, path, id string, tars ...io.Reader) error {
	pipe, out := io.Pipe()
	form := multipart.NewWriter(out)
	sent := make(chan error, 1)
	go func() {
		err := writeParts(form, tars)
		out.CloseWithError(err)
		sent <- err
	}()
	query := url.Values{wire.ID: {id}, wire.Parts: {strconv.Itoa(len(tars))}}
	answer, err := s.ask(ctx, http.MethodPut, path, query, pipe, form.Boundary())
	if err == nil {
		_, err = io.Copy(io.Discard, answer)
		answer.Close()
	}
	pipe.CloseWithError(errRefused)
	if failed := <-sent; failed != nil && !errors.Is(failed, errRefused) && !errors.Is(failed, io.ErrClosedPipe) {
		return failed // the reader's own error, which the other side only sees as a stream cut short
	}
	return err
}

var errRefused = errors.New("no more is read")

func writeParts(form *multipart.Writer, tars []io.Reader) error {
	for _, r := range tars {
		part, err := form.CreatePart(nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(part, r); err != nil {
			return err
		}
	}
	return form.Close()
}

// Run carries out a step. A *step.ExitError in the error's chain is the process' own end; without one the step could not
// be carried out.
func (s *Sandbox) Run(ctx context.Context, p step.Process) error {
	output := p.Output
	if output == nil {
		output = io.Discard
	}
	p.Output = nil
	var request bytes.Buffer
	if err := gob.NewEncoder(&request).Encode(p); err != nil {
		return err
	}
	answer, err := s.ask(ctx, http.MethodPost, wire.RunPath, nil, &request, "")
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(output, answer)
	return err
}

// Headers are the entries of a layer that Run made.
func (s *Sandbox) Headers(ctx context.Context, id string) ([]*tar.Header, error) {
	answer, err := s.fetch(ctx, wire.HeadersPath, url.Values{wire.ID: {id}})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var all []*tar.Header
	for dec := gob.NewDecoder(answer); ; {
		h := new(tar.Header)
		if err := dec.Decode(h); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
}

// Open is the tar of such a layer.
func (s *Sandbox) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.fetch(ctx, wire.TarPath, url.Values{wire.ID: {id}})
}

// File is the content of a regular file of such a layer.
func (s *Sandbox) File(ctx context.Context, id, name string) (io.ReadCloser, error) {
	return s.fetch(ctx, wire.FilePath, url.Values{wire.ID: {id}, wire.Name: {name}})
}

// SaveCache is a tar of a cache, nil when there is no such cache.
func (s *Sandbox) SaveCache(ctx context.Context, id string) (io.ReadCloser, error) {
	answer, err := s.fetch(ctx, wire.CachePath, url.Values{wire.ID: {id}})
	if errors.Is(err, errNone) {
		return nil, nil
	}
	return answer, err
}

var errNone = errors.New("not there")

func (s *Sandbox) fetch(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return s.ask(ctx, http.MethodGet, path, query, nil, "")
}

// ask sends one request; reading the answer to its end gives the error that the other side met, if any.
func (s *Sandbox) ask(ctx context.Context, method, path string, query url.Values, body io.Reader, boundary string) (io.ReadCloser, error) {
	k, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	to := url.URL{Scheme: "http", Host: "sandbox", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	if boundary != "" {
		req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, k.lost(ctx, err)
	}
	if resp.StatusCode == http.StatusNotFound {
		resp.Body.Close()
		return nil, errNone
	}
	return &answer{ctx: ctx, keeper: k, resp: resp}, nil
}

// answer is the body of an answer, whose end is the outcome in its trailer.
type answer struct {
	ctx    context.Context
	keeper *keeper
	resp   *http.Response
}

func (a *answer) Read(b []byte) (int, error) {
	n, err := a.resp.Body.Read(b)
	switch {
	case errors.Is(err, io.EOF):
		if told := wire.DecodeOutcome(a.resp.Trailer.Get(wire.Outcome)); told != nil {
			err = told
		}
	case err != nil:
		err = a.keeper.lost(a.ctx, err)
	}
	return n, err
}

func (a *answer) Close() error { return a.resp.Body.Close() }

// lost says that the connection to the privileged side broke, which it does when ctx ends or that side died.
func (k *keeper) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said := k.said(); said != "" {
		err = errors.New(said)
	}
	return &fault.Error{What: "run RUN steps: the process that does it has failed", Err: err}
}

func dial(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		ReadBufferSize:     2 * wire.MaxOutcome, // which must hold a trailer
		DisableCompression: true,
		DisableKeepAlives:  true, // an answer may come before the end of its request, which spoils the connection for others
	}}
}
