package argoapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// answers is a server that a client asks without a connection.
type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func answer(code int, text string) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}
}

func rest(t *testing.T, a answers) *REST {
	t.Helper()
	r, err := OpenREST(Options{Address: "argocd.example.com/argocd", Token: "T0ken"})
	if err != nil {
		t.Fatal(err)
	}
	r.http.Transport = a
	return r
}

// TestSlowRefresh looks at an application as it is when its comparison takes long.
func TestSlowRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, asked := time.Now(), []string{}
		r := rest(t, func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.RequestURI())
			if r.URL.RawQuery != "" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answer(200, `{"metadata":{"name":"web","annotations":{"argocd.argoproj.io/refresh":"normal"}}}`), nil
		})
		a, err := r.Application(t.Context(), "web", true)
		if err != nil || a.Refreshed || time.Since(begun) != patience || fmt.Sprint(asked) != "[/argocd/api/v1/applications/web?refresh=normal /argocd/api/v1/applications/web]" {
			t.Errorf("%+v, %v after %v: %q", a, err, time.Since(begun), asked)
		}
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a, err := r.Application(ended, "web", true); err == nil || len(asked) != 3 {
			t.Errorf("after the time is up: %+v, %q", a, asked)
		}
	})
}

// TestBusy tells how long a server wants to be left alone.
func TestBusy(t *testing.T) {
	for _, tt := range []struct {
		code  int
		after string
		want  time.Duration
		later bool
	}{
		{429, "7", 7 * time.Second, true},
		{503, "", time.Second, true},
		{502, "-3", time.Second, true},
		{504, "99999999999999999999", time.Hour, true},
		{503, "86400", time.Hour, true},
		{500, "7", 0, false},
		{0, "", 0, true}, // no answer
	} {
		r := rest(t, func(*http.Request) (*http.Response, error) {
			if tt.code == 0 {
				return nil, errors.New("connection refused")
			}
			resp := answer(tt.code, `{"error":"x","message":"x"}`)
			resp.Header.Set("Retry-After", tt.after)
			return resp, nil
		})
		for _, ask := range []func() error{
			func() error { _, err := r.Application(t.Context(), "web", false); return err },
			func() error { return r.Watch(t.Context(), "web", nil) },
			func() error {
				resp := answer(tt.code, `{"kind":"Status"}`)
				resp.Header.Set("Retry-After", tt.after)
				_, err := (&Cluster{API: only{resp}}).Application(t.Context(), "web", false)
				return err
			},
		} {
			var later *rollout.Later
			if err := ask(); errors.As(err, &later) != tt.later || tt.later && later.After != tt.want {
				t.Errorf("%d %s: %v, %+v", tt.code, tt.after, err, later)
			}
		}
	}
}

// only is an API server that has one answer, or none.
type only struct{ resp *http.Response }

func (o only) Do(*http.Request, string, string) (*http.Response, error) {
	if o.resp.StatusCode == 0 {
		return nil, errors.New("connection refused")
	}
	return o.resp, nil
}
func (only) Host() string { return "cluster" }
func (only) From() string { return "a test" }

// TestStreamRefused takes a proxy that lets no stream through for no word about the application.
func TestStreamRefused(t *testing.T) {
	for _, code := range []int{403, 404} {
		r := rest(t, func(*http.Request) (*http.Response, error) { return answer(code, `{"message":"no route"}`), nil })
		if err := r.Watch(t.Context(), "web", nil); err == nil || errors.Is(err, rollout.ErrMissing) {
			t.Errorf("%d: %v", code, err)
		}
	}
}
