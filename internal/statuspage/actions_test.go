package statuspage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/statuspage"
)

const postgres = "docker.io/library/postgres"

// post does an action as a form of the page does, with headers "Name: value".
func post(h http.Handler, action string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/actions/"+action, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func fields(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

func TestActions(t *testing.T) {
	for _, tt := range []struct {
		action string
		form   url.Values
		code   int
		done   []string
		says   string
	}{
		{"update", fields("target", target), 200, []string{"update k8s@main "}, "A round is on its way."},
		{"update", fields("target", target, "image", postgres), 200, []string{"update k8s@main " + postgres}, "A round is on its way."},
		{"hold", fields("target", target, "image", postgres, "reason", " a dump first "), 200, []string{"hold k8s@main " + postgres + ": a dump first"}, "Held back."},
		{"release", fields("target", target, "image", postgres), 200, []string{"release k8s@main " + postgres}, "Released."},
		{"check", fields(), 200, nil, "unlocked"},
		{"hold", fields("target", target, "image", postgres), 400, nil, "Say why"},
		{"hold", fields("target", target, "image", postgres, "reason", strings.Repeat("長", 201)), 400, nil, "longer than 200"},
		{"hold", fields("target", target, "image", postgres, "reason", strings.Repeat("長", 200)), 200, []string{"hold k8s@main " + postgres + ": " + strings.Repeat("長", 200)}, "Held"},
		{"hold", fields("target", target, "reason", "x"), 400, nil, "which image"},
		{"release", fields("target", target), 400, nil, "which image"},
		{"update", fields("target", "other"), 404, nil, "no such branch"},
		{"update", fields(), 404, nil, "no such branch"},
		{"update", fields("target", target, "image", "example.com/other"), 404, nil, "no such image"},
		{"delete", fields("target", target), 404, nil, "could not be read"},
		{"update", fields("target", target, "x", strings.Repeat("x", 20<<10)), 400, nil, "could not be read"},
	} {
		a := &actions{}
		h := statuspage.New(statuspage.Options{Board: shown(), Actions: a, Token: "secret"})
		w := post(h, tt.action, tt.form, "Authorization: Bearer secret", "Accept: application/json")
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %v: %d %s", tt.action, tt.form, w.Code, w.Body)
		}
		if diff := cmp.Diff(tt.done, a.done); diff != "" {
			t.Errorf("%s %v: -want +done:\n%s", tt.action, tt.form, diff)
		}
	}
}

// TestLeft: what was begun is finished, although nobody waits for the answer.
func TestLeft(t *testing.T) {
	a := &actions{}
	h := statuspage.New(statuspage.Options{Board: shown(), Actions: a, Token: "secret"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/actions/update", strings.NewReader(fields("target", target, "token", "secret").Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if len(a.done) != 1 || !a.live {
		t.Error(a.done, a.live)
	}
}

// TestRefused: without the token nothing is done, whatever else a request says.
func TestRefused(t *testing.T) {
	form := fields("target", target)
	with := func(token string) url.Values { return fields("target", target, "token", token) }
	for name, tt := range map[string]struct {
		token   string
		form    url.Values
		headers []string
		code    int
	}{
		"none":                  {"secret", form, nil, 401},
		"wrong":                 {"secret", form, []string{"Authorization: Bearer secreT"}, 401},
		"longer":                {"secret", form, []string{"Authorization: Bearer secret "}, 401},
		"wrong in the form":     {"secret", with("x"), nil, 401},
		"header beats the form": {"secret", with("secret"), []string{"Authorization: Bearer x"}, 401},
		"in the query":          {"secret", form, []string{"query: secret"}, 401},
		"no token is set":       {"", form, nil, 401},
		"empty token":           {"", with(""), []string{"Authorization: Bearer "}, 401},
		"a gateway's own login": {"secret", with("secret"), []string{"Authorization: Basic c2VjcmV0OnNlY3JldA=="}, 200},
		"from another site":     {"secret", with("secret"), []string{"Sec-Fetch-Site: cross-site"}, 403},
		"in the form":           {"secret", with("secret"), []string{"Sec-Fetch-Site: same-origin"}, 200},
	} {
		a := &actions{}
		h := statuspage.New(statuspage.Options{Board: shown(), Actions: a, Token: tt.token})
		action := "update"
		if slices.Contains(tt.headers, "query: secret") {
			action += "?token=secret"
		}
		w := post(h, action, tt.form, tt.headers...)
		if w.Code != tt.code || (len(a.done) > 0) != (tt.code == 200) {
			t.Errorf("%s: %d %v", name, w.Code, a.done)
		}
		if strings.Contains(w.Body.String(), `value="secret"`) || w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %v %s", name, w.Header(), w.Body)
		}
	}
}

// TestReadOnly: unless actions are given there are none.
func TestReadOnly(t *testing.T) {
	h := statuspage.New(statuspage.Options{Board: shown(), Token: "secret"})
	if w := post(h, "update", fields("target", target), "Authorization: Bearer secret"); w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
	if page := answerTo(h, "/?act=1").Body.String(); strings.Contains(page, "<dialog") || strings.Contains(page, "?act=") {
		t.Error("the page offers actions")
	}
}

// TestGuessing: after ten wrong tokens in a minute none counts, until the minute is over; elsewhere they do.
func TestGuessing(t *testing.T) {
	clock := now
	h := statuspage.New(statuspage.Options{Board: shown(), Actions: &actions{}, Token: "secret", Now: func() time.Time { return clock }})
	try := func(from, token string) int {
		r := httptest.NewRequest("POST", "/actions/check", nil)
		r.RemoteAddr = from
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for n := range 10 {
		if code := try("192.0.2.1:1000", "x"); code != http.StatusUnauthorized {
			t.Fatalf("%d: %d", n, code)
		}
	}
	for _, token := range []string{"x", "secret"} {
		if code := try("192.0.2.1:2000", token); code != http.StatusTooManyRequests {
			t.Errorf("%s: %d", token, code)
		}
	}
	if code := try("[2001:db8::1]:1000", "secret"); code != http.StatusOK {
		t.Errorf("from elsewhere: %d", code)
	}
	for n := range 11 {
		want := http.StatusUnauthorized
		if n == 10 {
			want = http.StatusTooManyRequests
		}
		if code := try(fmt.Sprintf("[2001:db8:1:2:%x::1]:1000", n), "x"); code != want {
			t.Errorf("from address %d of a network: %d", n, code)
		}
	}
	if code := try("[2001:db8:1:3::1]:1000", "secret"); code != http.StatusOK {
		t.Errorf("from the network beside it: %d", code)
	}
	clock = clock.Add(time.Minute)
	if code := try("192.0.2.1:3000", "secret"); code != http.StatusOK {
		t.Errorf("a minute later: %d", code)
	}
}

// TestActionFails: what went wrong is said with its hint, to scripts and to people.
func TestActionFails(t *testing.T) {
	for kind, code := range map[fault.Kind]int{fault.Failed: 502, fault.Usage: 400, fault.Denied: 403, fault.Missing: 404, fault.Conflict: 409} {
		a := &actions{err: &fault.Error{Kind: kind, What: "push", Where: "main", Err: errors.New("<b>remote\x1b[31m: no</b>"), Hint: "ask somebody"}}
		h := statuspage.New(statuspage.Options{Board: shown(), Actions: a, Token: "secret"})
		w := post(h, "update", fields("target", target, "token", "secret"))
		page := w.Body.String()
		if w.Code != code || !strings.Contains(page, "push main: &lt;b&gt;remote\uFFFD[31m: no&lt;/b&gt;") || !strings.Contains(page, "ask somebody") || !strings.Contains(page, `href="../?act=1&amp;target=k8s%40main&amp;image="`) {
			t.Errorf("%d: %d %.400s", kind, w.Code, page)
		}
		w = post(h, "update", fields("target", target), "Authorization: Bearer secret", "Accept: application/json")
		if w.Code != code || !strings.Contains(w.Body.String(), `"hint":"ask somebody"`) {
			t.Errorf("%d: %d %s", kind, w.Code, w.Body)
		}
	}
}
