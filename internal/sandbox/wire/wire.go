// Package wire is what the two sides of a sandbox say to each other: the build, which has no rights, and the process that
// keeps layers and runs steps for it, which has root's. They talk HTTP over a Unix socket, so that streams, cancelling
// and several requests at a time need nothing of our own.
package wire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// Verb is the hidden command under which a binary becomes the privileged side.
const Verb = "__sandbox"

// The paths of the privileged side. Each takes the query parameter ID, and answers with the trailer Outcome.
const (
	LayerPath   = "/layer"   // PUT: Parts in multipart form make a layer
	HeadersPath = "/headers" // GET: a layer's tar.Headers in gob
	TarPath     = "/tar"     // GET: a layer's tar
	FilePath    = "/file"    // GET: the content of Name in a layer
	CachePath   = "/cache"   // GET, PUT: a cache mount's tar; GET answers 404 when there is none
	RunPath     = "/run"     // POST: a step.Process in gob; its output comes back
)

// The query parameters of requests, and the trailer of answers.
const (
	ID      = "id"
	Name    = "name"
	Parts   = "parts"
	Outcome = "Outcome"
)

// Start is the first line on the standard input of the privileged side, in JSON. When that input ends, the privileged
// side ends everything that it has started, removes what it keeps, and exits.
type Start struct {
	Socket    string   // where to listen
	Owner     int      // user id that may connect
	Isolation string   // engine to use, "" for the first that works
	Folders   []string // where layers may be kept, the best first
	Remove    []string // the build's own folders, to be removed at the end: it does it too, if it lives
}

// Ready is the answer to Start: one line of JSON on standard output, before anything listens.
type Ready struct {
	Isolation string // the engine chosen, "" for none
	Why       string // why this one, and not the ones before it
	Failure   *Failure
}

// Failure is an error on its way from one process to the other.
type Failure struct {
	Exit  *step.ExitError `json:",omitempty"`
	What  string          `json:",omitempty"`
	Where string          `json:",omitempty"`
	Hint  string          `json:",omitempty"`
	Text  string          `json:",omitempty"`
}

// NewFailure is err for the way, nil for nil.
func NewFailure(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Text: err.Error(), Hint: fault.HintOf(err)}
	var told *fault.Error
	if errors.As(err, &told) {
		f.What, f.Where = told.What, told.Where
		if told.Err != nil {
			f.Text = told.Err.Error()
		}
	}
	errors.As(err, &f.Exit)
	return f
}

// Err is the error that f came from: a *fault.Error, around a *step.ExitError if it was that, and the latter alone if it
// has nothing to add.
func (f *Failure) Err() error {
	switch {
	case f == nil:
		return nil
	case f.Exit == nil:
		return &fault.Error{What: f.What, Where: f.Where, Hint: f.Hint, Err: errors.New(f.Text)}
	case f.Hint == "" && f.Where == "":
		return f.Exit
	}
	return &fault.Error{What: f.What, Where: f.Where, Hint: f.Hint, Err: f.Exit}
}

// MaxOutcome bounds a trailer's value, in bytes, for trailers are read whole.
const MaxOutcome = 32 << 10

// Encode is f as a trailer's value. A text that is too long for that loses its end.
func (f *Failure) Encode() string {
	text, _ := json.Marshal(f) // strings and numbers only
	if base64.StdEncoding.EncodedLen(len(text)) > MaxOutcome {
		text, _ = json.Marshal(&Failure{Exit: f.Exit, What: f.What, Text: strings.ToValidUTF8(f.Text[:min(len(f.Text), 2<<10)], "") + "…"})
	}
	return base64.StdEncoding.EncodeToString(text)
}

// DecodeOutcome is the error that a trailer's value tells of. An answer without a value was cut short.
func DecodeOutcome(value string) error {
	text, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(text) == 0 {
		return io.ErrUnexpectedEOF
	}
	var f *Failure
	if err := json.Unmarshal(text, &f); err != nil {
		return io.ErrUnexpectedEOF
	}
	return f.Err()
}
