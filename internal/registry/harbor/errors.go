package harbor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry"
)

// Refusal is an answer of Harbor other than the one hoped for, in Harbor's words. It is the cause of the errors here.
type Refusal struct {
	Status        int
	Code, Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("Harbor answers %d %s: %s", r.Status, r.Code, r.Message)
}

// Is lets errors.Is find a kind of refusal: ErrMissing and its like, which have no message.
func (r *Refusal) Is(target error) bool {
	kind, ok := target.(*Refusal)
	return ok && kind.Message == "" && r.Status == kind.Status && (kind.Code == "" || r.Code == kind.Code)
}

// The kinds of refusals that callers tell apart, by status and code as Harbor 2.16 gives them.
var (
	ErrMissing    error = &Refusal{Status: http.StatusNotFound}                                                   // no such project, repository, artifact
	ErrForbidden  error = &Refusal{Status: http.StatusForbidden, Code: "FORBIDDEN"}                               // the right is missing; robots hear it of missing projects too
	ErrConflict   error = &Refusal{Status: http.StatusConflict}                                                   // it is there already, or going on
	ErrReferenced error = &Refusal{Status: http.StatusPreconditionFailed, Code: "VIOLATE_FOREIGN_KEY_CONSTRAINT"} // an index refers to it
	errFails      error = &Refusal{Status: http.StatusPreconditionFailed, Code: "PRECONDITION"}                   // means another thing for each call
	errReadOnly   error = &Refusal{Status: http.StatusForbidden, Code: "DENIED"}
)

// maxMessage is how much of Harbor's words is passed on, in bytes.
const maxMessage = 500

// refused says what an answer means that was not the one expected.
func (c *Client) refused(r call, resp *http.Response, raw []byte) error {
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(raw, &said); err != nil || len(said.Errors) == 0 {
		said.Errors = nil
	}
	refusal := &Refusal{Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
	for i, e := range said.Errors {
		if i == 0 {
			refusal.Code, refusal.Message = e.Code, e.Message
		} else {
			refusal.Message += "; " + e.Message
		}
	}
	refusal.Message = strings.ToValidUTF8(refusal.Message[:min(len(refusal.Message), maxMessage)], "")
	f := &fault.Error{What: r.what, Where: r.where, Err: refusal}
	project, _, _ := strings.Cut(r.where, "/")
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		f.Kind, f.Hint = fault.Denied, registry.HintLogin
	case errors.Is(refusal, errReadOnly):
		f.Kind, f.Hint = fault.Denied, registry.HintReadOnly
	case errors.Is(refusal, ErrForbidden):
		f.Kind, f.Hint = fault.Denied, "the account needs that right on project "+project+", and the project must exist: Harbor does not tell which"
	case resp.StatusCode == http.StatusTooManyRequests && said.Errors == nil: // of a proxy; Harbor itself has no limit
		f.Err, f.Hint = fmt.Errorf("%s answers 429 %s", c.host, http.StatusText(resp.StatusCode)), "it limits requests: try again later"
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		f.Err, f.Hint = fmt.Errorf("%s sends its clients elsewhere", c.host), "name the address that Harbor itself has, with https:// where it wants that"
	case resp.StatusCode >= http.StatusInternalServerError && said.Errors == nil:
		f.Err = fmt.Errorf("%s answers %d %s", c.host, resp.StatusCode, http.StatusText(resp.StatusCode))
		f.Hint = "a part of Harbor is down, or restarting: check its pods, and try again"
	case said.Errors == nil:
		return c.strange(r, fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	return f
}

// strange is for answers that no Harbor gives. Beside its own paths, Harbor answers every request with its web page.
func (c *Client) strange(r call, cause error) error {
	return &fault.Error{What: r.what, Where: r.where, Err: fmt.Errorf("%s does not answer as Harbor 2 does: %w", c.host, cause),
		Hint: "is " + c.host + " a Harbor? A proxy or another registry may stand in its place"}
}

// hinted is err with a hint of the caller's when it is of the kind.
func hinted(err, kind error, cause, hint string) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || !errors.Is(err, kind) {
		return err
	}
	better := *f
	better.Hint, better.Err = hint, explained{cause, f.Err}
	return &better
}

// explained is an error told in our words, with Harbor's behind them.
type explained struct {
	text  string
	cause error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.cause }
