// Package statuspage is the page on which people see what a long-running updater does, live and in their language, because
// nobody trusts an updater that cannot say why it left an image alone.
package statuspage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/status"
)

// Schema is that of the document at /status.json.
const Schema = "imgbump/serve/v1"

// Actions is what people may do from the page. Targets and images are named as on the board, and exist there; no image means
// all of the target.
type Actions interface {
	Update(ctx context.Context, target, image string) error
	Hold(ctx context.Context, target, image, reason string) error
	Release(ctx context.Context, target, image string) error
}

// Options are what the page shows, and what can be done from it.
type Options struct {
	Board   *status.Board
	Actions Actions          // nil: the page is read-only
	Token   string           // what allows actions; without one all are refused
	Now     func() time.Time // nil: time.Now
	Stop    <-chan struct{}  // closed when live updates are to end, so that a server can shut down; nil: never
}

// New serves the page at /, what changes at /events and /fragment, the same as JSON at /status.json, diagrams at
// /diagram/TARGET.svg, and POST /actions/update, hold and release. All its own addresses are relative: it works below a
// prefix that a gateway strips.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &page{Options: o, attempts: attempts{now: o.Now}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.index)
	mux.HandleFunc("GET /fragment", p.fragment)
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("GET /status.json", p.document)
	mux.HandleFunc("GET /diagram/{target...}", p.diagram)
	mux.HandleFunc("GET /assets/{name}", asset)
	if o.Actions != nil {
		mux.Handle("POST /actions/{action}", http.NewCrossOriginProtection().Handler(http.HandlerFunc(p.act)))
	}
	return guarded(mux)
}

// page is the handler's state.
type page struct {
	Options
	attempts attempts
	clients  clients

	mu   sync.Mutex
	last *view
}

// policy is the Content-Security-Policy of every answer: only the embedded files, no script from text (trusted types), and no
// frame around the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guarded adds what keeps a browser from doing more with an answer than to show it.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// index answers with the whole page, with the form for actions when the query asks for it.
func (p *page) index(w http.ResponseWriter, r *http.Request) {
	l, f, v := languageOf(r), filterOf(r), p.view()
	query := r.URL.Query()
	p.show(w, r, http.StatusOK, "page", map[string]any{
		"Filter": f, "Counts": v.counts(), "Since": v.snapshot.Started, "Languages": languages,
		"Summary": v.region("summary").html(l, false), "Sections": v.sections(l, p.Actions != nil, f),
		"Acts": p.Actions != nil, "Form": query.Has("act"), "Target": query.Get("target"), "Image": query.Get("image"), "Longest": longest,
	})
}

// show answers with a template of the reader's language.
func (p *page) show(w http.ResponseWriter, r *http.Request, code int, name string, model map[string]any) {
	l := languageOf(r)
	model["Language"], model["Version"], model["Asked"] = l, assetsVersion, ""
	if r.URL.Query().Get("lang") == l.Code {
		model["Asked"] = l.Code // so that links lead to pages in it
	}
	var b bytes.Buffer
	if err := l.templates.ExecuteTemplate(&b, name, model); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Add("Vary", "Accept-Language")
	w.Header().Set("Content-Language", l.Code)
	send(w, r, code, "text/html; charset=utf-8", b.Bytes())
}

// fragment answers with the regions that the query names, as a document of which the page takes what differs.
func (p *page) fragment(w http.ResponseWriter, r *http.Request) {
	l := languageOf(r)
	v := p.view()
	var b bytes.Buffer
	b.WriteString("<!doctype html><title>imgbump</title>\n")
	ids := r.URL.Query()["id"]
	for _, region := range v.regions { // each once, however often it is named
		if slices.Contains(ids, region.ID) {
			b.WriteString(string(region.html(l, p.Actions != nil)))
		}
	}
	send(w, r, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// document answers with the board as JSON.
func (p *page) document(w http.ResponseWriter, r *http.Request) {
	body, err := json.MarshalIndent(struct {
		Schema string `json:"schema"`
		status.Snapshot
	}{Schema, p.view().snapshot}, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, r, http.StatusOK, "application/json", append(body, '\n'))
}

// diagram answers with the tree of a target's applications. Opened by itself it is a document that may run nothing and has an
// origin of its own.
func (p *page) diagram(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("target"), ".svg")
	t := p.view().target(name)
	if !ok || t == nil || t.Diagram == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox")
	send(w, r, http.StatusOK, "image/svg+xml", t.Diagram)
}

// send answers, compressed where the client takes that: a page of 1,000 images shrinks to a tenth.
func send(w http.ResponseWriter, r *http.Request, code int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Add("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.WriteHeader(code)
		w.Write(body)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(w)
	z.Write(body)
	z.Close()
}

var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return z
}}
