package argoapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/argoapi"
	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
)

const token = "T0kenOfTheAccount"

// client is either API.
type client interface {
	Application(ctx context.Context, name string, refresh bool) (*rollout.Application, error)
	Watch(ctx context.Context, name string, seen func(*rollout.Application)) error
	Forbids(ctx context.Context, name string) string
	Rollout(ctx context.Context, name string, a *rollout.Application, r rollout.Resource) ([]byte, error)
	Troubles(ctx context.Context, name string, a *rollout.Application, lines int) []rollout.Trouble
}

// api is a cluster's API server at an address.
type api string

func (a api) Do(r *http.Request, what, where string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, string(a)+"/"+r.URL.Path+"?"+r.URL.RawQuery, r.Body)
	if err != nil {
		return nil, err
	}
	request.Header = r.Header.Clone()
	request.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, &fault.Error{What: what, Where: where, Err: errors.New("unreachable")}
	}
	return resp, nil
}

func (a api) Host() string { return "cluster" }
func (a api) From() string { return "a test" }

// clients are both APIs of what handles requests.
func clients(t *testing.T, h http.Handler) map[string]client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	rest, err := argoapi.OpenREST(argoapi.Options{Address: server.URL, Token: token + "\n", Agent: "imgbump/test"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]client{"rest": rest, "cluster": &argoapi.Cluster{API: api(server.URL), Namespace: argotest.Namespace, Warn: func(string) {}}}
}

func at(revision, health string) *rollout.Application {
	return argotest.State{Sync: "Synced", Rev: revision, Health: health}.Application("web")
}

// TestWrites hears of everything that a real Argo CD wrote of an application, in its order.
func TestWrites(t *testing.T) {
	events, err := argotest.Transcript(filepath.Join("../rollout/testdata", "02-push-no-refresh-then-rest-refresh.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var writes []*rollout.Application
	for _, e := range events {
		if e.Name == "kust" {
			writes = append(writes, e.State.Application(e.Name))
		}
	}
	for _, kind := range []string{"rest", "cluster"} {
		s := &argotest.Server{Token: token}
		s.Put(writes[0])
		s.OnRefresh("kust", writes[1:]...)
		c := clients(t, s)[kind]
		a, err := c.Application(t.Context(), "kust", true)
		if err != nil || a.Operation == nil || len(a.Metadata.Annotations) > 0 || a.Refreshed != (kind == "rest") {
			t.Fatalf("%s: refreshed: %+v, %v", kind, a, err)
		}
		heard := []*rollout.Application{}
		ctx, cancel := context.WithCancel(t.Context())
		err = c.Watch(ctx, "kust", func(a *rollout.Application) {
			if heard = append(heard, a); a.Status.Health.Status == "Healthy" && a.Status.Sync.Status == "Synced" {
				cancel()
			}
		})
		compared := slices.IndexFunc(writes, func(a *rollout.Application) bool { return a.Operation != nil && len(a.Metadata.Annotations) == 0 })
		if diff := cmp.Diff(writes[compared:], heard); diff != "" {
			t.Errorf("%s: -written +heard:\n%s", kind, diff)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestGone hears that an application is deleted, and that there is none.
func TestGone(t *testing.T) {
	for _, kind := range []string{"rest", "cluster"} {
		s := &argotest.Server{Token: token}
		s.Put(at("main", "Healthy"))
		c := clients(t, s)[kind]
		if err := c.Watch(t.Context(), "web", func(*rollout.Application) { s.Delete("web") }); err != rollout.ErrMissing {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := c.Application(t.Context(), "web", true); !errors.Is(err, rollout.ErrMissing) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestAnswers looks at what servers answer that is not what was asked for. No token is in any error.
func TestAnswers(t *testing.T) {
	answer := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if code/100 == 3 {
				w.Header().Set("Location", "https://elsewhere.example.com/?token=secret")
			}
			w.WriteHeader(code)
			io.WriteString(w, text)
		}
	}
	for _, tt := range []struct {
		name, kind string
		handler    http.HandlerFunc
		kindOf     fault.Kind
		text, hint string
	}{
		{"an expired token", "rest", answer(401, `{"error":"no session information","code":16,"message":"no session information"}`), fault.Denied, "does not accept the token: no session information", "generate-token"},
		{"no right", "rest", answer(403, `{"error":"permission denied","code":7,"message":"permission denied"}`), fault.Denied, "not found, or not permitted", "applications, get, PROJECT/web"},
		{"unknown in its project", "rest", answer(404, `{"error":"applications.argoproj.io \"web\" not found","code":5,"message":"x"}`), fault.Denied, "not found, or not permitted", "argocd app list"},
		{"no project", "rest", answer(400, string(recorded(t, "06-app-errnoproj.json"))), fault.Failed, `web: app is not allowed in project "nosuchproject", or the project does not exist`, "create the AppProject"},
		{"a secret", "rest", answer(500, `{"error":"x","message":"Get \"https://secret@git.example.com/x?key=secret\""}`), fault.Failed, `Get "https://git.example.com/x?..."`, ""},
		{"a redirect", "rest", answer(307, ""), fault.Failed, "redirects to https://elsewhere.example.com", "the token is not sent on"},
		{"a login page", "rest", answer(200, "<html>"), fault.Failed, "something that is no application", "address of Argo CD's server"},
		{"a proxy", "rest", answer(503, "<html>"), fault.Failed, "answers 503 Service Unavailable, and not as Argo CD does", "A proxy"},
		{"control characters", "rest", answer(500, `{"error":"x","message":"a\u001b[2J\nimgbump: b"}`), fault.Failed, "answers 500: a [2J imgbump: b", ""},
		{"too much", "rest", answer(200, `{"metadata":{"name":"`+strings.Repeat("x", 9<<20)+`"}}`), fault.Failed, "more than 8 MiB", ""},
		{"an expired login", "cluster", answer(401, `{"kind":"Status","message":"Unauthorized"}`), fault.Denied, "does not accept our login", "expired"},
		{"no Role", "cluster", answer(403, `{"kind":"Status","message":"applications.argoproj.io \"web\" is forbidden"}`), fault.Denied, `"web" is forbidden`, "get, list, watch and patch"},
		{"no Argo CD", "cluster", answer(404, `{"kind":"Status","message":"the server could not find the requested resource"}`), fault.Failed, "knows no applications", "installed"},
		{"no such application", "cluster", answer(404, `{"kind":"Status","details":{"name":"web"}}`), fault.Failed, "not found", "kubectl get applications --namespace argocd"},
		{"no API server", "cluster", answer(404, `not found`), fault.Failed, "not as an API server does", "a test"},
	} {
		c := clients(t, tt.handler)[tt.kind]
		_, err := c.Application(t.Context(), "web", false)
		text, hint := fmt.Sprint(err), fault.HintOf(err)
		if fault.KindOf(err) != tt.kindOf || !strings.Contains(text, tt.text) || !strings.Contains(hint, tt.hint) {
			t.Errorf("%s: %v (%d), hint %q", tt.name, err, fault.KindOf(err), hint)
		}
		if strings.ContainsAny(text, "\x1b\n") || strings.Contains(text+hint, token) || strings.Contains(text+hint, "secret") {
			t.Errorf("%s: %q, %q", tt.name, text, hint)
		}
		if err := c.Watch(t.Context(), "web", func(*rollout.Application) { t.Errorf("%s: seen", tt.name) }); err == nil {
			t.Errorf("%s: a stream without an error", tt.name)
		}
	}
}

func recorded(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var exchange = regexp.MustCompile(`(?m)^## (.*)\n(.*)\n(?:\n)?\[(\d+) (\S+) [\d.]+s\]$`)

// TestRecorded gives every answer that a real Argo CD gave to who asked for what it would not give.
func TestRecorded(t *testing.T) {
	refused := 0
	for _, m := range exchange.FindAllStringSubmatch(string(recorded(t, "07-http-errors.txt")), -1) {
		code, _ := strconv.Atoi(m[3])
		if code == 200 {
			continue
		}
		refused++
		c := clients(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", m[4])
			w.WriteHeader(code)
			io.WriteString(w, m[2])
		}))["rest"]
		_, err := c.Application(t.Context(), "web", true)
		switch {
		case code == 401 && (fault.KindOf(err) != fault.Denied || errors.Is(err, rollout.ErrMissing) || !strings.Contains(err.Error(), "does not accept the token: ")),
			(code == 403 || code == 404) && (fault.KindOf(err) != fault.Denied || !errors.Is(err, rollout.ErrMissing)),
			code == 400 && m[2] != "" && (fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "answers 400: ")),
			code == 415 && !strings.Contains(fmt.Sprint(err), "not as Argo CD does"):
			t.Errorf("%s: %d: %v", m[1], code, err)
		}
	}
	if refused < 15 {
		t.Errorf("only %d refusals", refused)
	}
}

// TestNamespaces tells an application from one of the same name in another namespace.
func TestNamespaces(t *testing.T) {
	stream := func(w http.ResponseWriter, r *http.Request) {
		for _, namespace := range []string{"team-b", "team-a"} {
			a := at("main", "Healthy")
			a.Metadata.Namespace = namespace
			if strings.HasPrefix(r.URL.Path, "/apis/") {
				json.NewEncoder(w).Encode(map[string]any{"type": "DELETED", "object": a})
			} else {
				json.NewEncoder(w).Encode(map[string]any{"result": map[string]any{"type": "DELETED", "application": a}})
			}
		}
	}
	for kind, c := range clients(t, http.HandlerFunc(stream)) {
		if err := c.Watch(t.Context(), "team-c/web", func(*rollout.Application) { t.Error("seen") }); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := c.Watch(t.Context(), "team-a/web", func(*rollout.Application) { t.Error("seen") }); err != rollout.ErrMissing {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestTokenStays sees that a redirect does not get the token.
func TestTokenStays(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked, with %v", r.Header) }))
	defer elsewhere.Close()
	for kind, c := range clients(t, http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect)) {
		if kind == "rest" {
			if _, err := c.Application(t.Context(), "web", true); err == nil {
				t.Error("no error")
			}
		}
	}
}

func TestWindows(t *testing.T) {
	for windows, want := range map[string]string{
		`{"activeWindows":[{"kind":"deny","schedule":"* * * * *","duration":"1h","manualSync":false}],"assignedWindows":[],"canSync":false}`: "a sync window denies it (* * * * * for 1h)",
		`{"assignedWindows":[{"kind":"allow"}],"canSync":false}`:                                                                             "it is outside of the sync windows that allow it",
		`{"canSync":true}`: "",
		`nonsense`:         "",
	} {
		s := &argotest.Server{Token: token, Windows: windows}
		if got := clients(t, s)["rest"].Forbids(t.Context(), "web"); got != want {
			t.Errorf("%s: %q, want %q", windows, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"web": true, "team-a/web": true, "": false, "../secrets": false, "a/b/c": false, "Web": false, "web?x=1": false, "/web": false} {
		if _, _, err := argoapi.ParseName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for address, ok := range map[string]bool{"argocd.example.com": true, "https://example.com/argocd": true, "http://localhost:8080": true, "ftp://x": false, "https://me:pw@x": false, "": false, "https://x?y": false} {
		_, err := argoapi.OpenREST(argoapi.Options{Address: address, Token: token})
		if (err == nil) != ok || strings.Contains(fmt.Sprint(err), "pw") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, wrong := range []string{"", "a b", "a\nb"} {
		if _, err := argoapi.OpenREST(argoapi.Options{Address: "x", Token: wrong}); fault.KindOf(err) != fault.Usage {
			t.Errorf("token %q: %v", wrong, err)
		}
	}
}

func TestRollout(t *testing.T) {
	s := &argotest.Server{Token: token, Answers: map[string]string{
		"/api/v1/applications/web/resource":                       `{"manifest": "{\"rest\": 1}"}`,
		"/apis/argoproj.io/v1alpha1/namespaces/apps/rollouts/web": `{"cluster": 1}`,
	}}
	web := rollout.Resource{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout", Namespace: "apps", Name: "web"}
	abroad, elsewhere := web, &rollout.Application{}
	elsewhere.Spec.Destination.Name = "edge"
	abroad.Namespace = "../.."
	for kind, c := range clients(t, s) {
		read := func(name string, a *rollout.Application, r rollout.Resource, want string) {
			t.Helper()
			if got, err := c.Rollout(t.Context(), name, a, r); err != nil || string(got) != want {
				t.Errorf("%s: %s, %v", kind, got, err)
			}
		}
		read("web", &rollout.Application{}, web, `{"`+kind+`": 1}`)
		read("api", &rollout.Application{}, rollout.Resource{Namespace: "apps", Name: "api"}, "") // to which it has no right
		if kind == "cluster" {
			read("web", elsewhere, web, "")
			read("web", &rollout.Application{}, abroad, "")
		}
	}
	s.Down()
	for kind, c := range clients(t, s) {
		if got, err := c.Rollout(t.Context(), "web", &rollout.Application{}, web); got != nil || err == nil {
			t.Errorf("%s cannot read it now: %s, %v", kind, got, err)
		}
	}
	if requests := fmt.Sprint(s.Requests()); !strings.Contains(requests, "resource?group=argoproj.io&kind=Rollout&namespace=apps&resourceName=web&version=v1alpha1") {
		t.Error(requests)
	}
}
