package statuspage

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/status"
)

const (
	longest    = 200             // characters of a reason
	formBytes  = 16 << 10        // of a form
	actionTime = 2 * time.Minute // for an action, whether or not the browser waits for it
)

// form is what somebody wants done.
type form struct{ Target, Image, Reason string }

// message is what became of it, for people.
type message struct{ text, hint string }

// act does what a form asks for. The token comes with each request, in the header or in the form: there is no cookie, so that
// no other site can make a browser act in its reader's name, and nothing to expire, to store or to steal on the server.
// page.js keeps it in the tab's session storage, which no other site can read, and the policy leaves no way for foreign script.
func (p *page) act(w http.ResponseWriter, r *http.Request) {
	l := languageOf(r)
	r.Body = http.MaxBytesReader(w, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		p.answer(w, r, http.StatusBadRequest, form{}, message{text: l.word("bad form")})
		return
	}
	f := form{Target: r.PostFormValue("target"), Image: strings.TrimSpace(r.PostFormValue("image")), Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	switch p.admit(r) {
	case http.StatusOK:
		code, said := p.do(l, r, f)
		p.answer(w, r, code, f, said)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
		p.answer(w, r, http.StatusTooManyRequests, f, message{text: l.word("too often")})
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="imgbump"`)
		p.answer(w, r, http.StatusUnauthorized, f, message{text: l.word("bad token")})
	}
}

// admit holds the request's token against ours, in a time that does not depend on how much of it is right.
func (p *page) admit(r *http.Request) int {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found { // what else stands there is a gateway's
		token = r.PostFormValue("token")
	}
	given := sha256.Sum256([]byte(token))
	want := sha256.Sum256([]byte(p.Token))
	return p.attempts.try(r, subtle.ConstantTimeCompare(given[:], want[:]) == 1 && p.Token != "")
}

// do does the action that the address names.
func (p *page) do(l *language, r *http.Request, f form) (int, message) {
	action := r.PathValue("action")
	if action == "check" {
		return http.StatusOK, message{text: l.word("done check")}
	}
	if !slices.Contains([]string{"update", "hold", "release"}, action) {
		return http.StatusNotFound, message{text: l.word("bad form")}
	}
	if code, why := p.check(l, action, f); code != http.StatusOK {
		return code, message{text: why}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionTime)
	defer cancel()
	var err error
	switch action {
	case "update":
		err = p.Actions.Update(ctx, f.Target, f.Image)
	case "hold":
		err = p.Actions.Hold(ctx, f.Target, f.Image, f.Reason)
	case "release":
		err = p.Actions.Release(ctx, f.Target, f.Image)
	}
	if err != nil {
		return codeOf(err), message{plain(err.Error()), plain(fault.HintOf(err))}
	}
	return http.StatusOK, message{text: l.word("done " + action)}
}

// check holds a form against the board: actions meet only what is there.
func (p *page) check(l *language, action string, f form) (int, string) {
	t := p.view().target(f.Target)
	switch {
	case t == nil:
		return http.StatusNotFound, l.word("no target")
	case f.Image == "" && action != "update":
		return http.StatusBadRequest, l.word("which image")
	case f.Image != "" && !slices.ContainsFunc(t.Images, func(i status.Image) bool { return i.Name == f.Image }):
		return http.StatusNotFound, l.word("no image")
	case action == "hold" && f.Reason == "":
		return http.StatusBadRequest, l.word("no reason")
	case utf8.RuneCountInString(f.Reason) > longest:
		return http.StatusBadRequest, l.word("long reason", longest)
	}
	return http.StatusOK, ""
}

// codeOf is the status that says what kind of failure it was.
func codeOf(err error) int {
	switch fault.KindOf(err) {
	case fault.Usage:
		return http.StatusBadRequest
	case fault.Denied:
		return http.StatusForbidden
	case fault.Missing:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	}
	return http.StatusBadGateway
}

// answer says what became of an action: to page.js as JSON, to others as a page of its own.
func (p *page) answer(w http.ResponseWriter, r *http.Request, code int, f form, said message) {
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		p.show(w, r, code, "answer", map[string]any{"Form": f, "Done": code == http.StatusOK, "Message": said.text, "Hint": said.hint})
		return
	}
	body, err := json.Marshal(map[string]string{"message": said.text, "hint": said.hint})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, r, code, "application/json", body)
}
