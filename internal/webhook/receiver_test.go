package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/webhook"
)

// receiver is a handler, and what it told.
type receiver struct {
	t *testing.T
	http.Handler
	known func(webhook.Event) bool

	mu       sync.Mutex
	events   []webhook.Event
	outcomes []string
	log      bytes.Buffer
}

func newReceiver(t *testing.T, o webhook.Options) *receiver {
	t.Helper()
	rc := &receiver{t: t, known: func(webhook.Event) bool { return true }}
	o.Notify = func(e webhook.Event) bool {
		rc.mu.Lock()
		defer rc.mu.Unlock()
		rc.events = append(rc.events, e)
		return rc.known(e)
	}
	o.Observe = func(kind webhook.Kind, outcome string) {
		rc.mu.Lock()
		defer rc.mu.Unlock()
		rc.outcomes = append(rc.outcomes, outcome)
	}
	o.Log = slog.New(slog.NewTextHandler(&rc.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if rc.Handler, err = webhook.New(o); err != nil {
		t.Fatal(err)
	}
	return rc
}

func (rc *receiver) post(address string, header http.Header, body []byte) *httptest.ResponseRecorder {
	return rc.do(http.MethodPost, address, header, body)
}

func (rc *receiver) do(method, address string, header http.Header, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, address, bytes.NewReader(body))
	for key, values := range header {
		r.Header[key] = values
	}
	w := httptest.NewRecorder()
	rc.ServeHTTP(w, r)
	return w
}

// outcome is the last one, "" when none was observed.
func (rc *receiver) outcome() string {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if len(rc.outcomes) == 0 {
		return ""
	}
	return rc.outcomes[len(rc.outcomes)-1]
}

// holds fails when a text that nobody may see shows in the log or in an answer.
func (rc *receiver) holds(text string, w *httptest.ResponseRecorder) {
	rc.t.Helper()
	if shown := rc.log.String() + w.Body.String() + fmt.Sprint(w.Header()); strings.Contains(shown, text) {
		rc.t.Errorf("it shows %s: %s", text, shown)
	}
}

func parsed(t *testing.T, s string) imageref.Ref {
	t.Helper()
	ref, err := imageref.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestSecrets(t *testing.T) {
	const secret = "T0p.Secret"
	harbor, github := read(t, "harbor/push-artifact.json"), read(t, "ghcr.io/package.json")
	form := []byte(url.Values{"payload": {string(github)}}.Encode())
	for name, tt := range map[string]struct {
		address string
		header  http.Header
		body    []byte
		want    int
	}{
		"Authorization":           {"/webhook?type=harbor", http.Header{"Authorization": {secret}}, harbor, 202},
		"Bearer":                  {"/webhook?type=harbor", http.Header{"Authorization": {"Bearer " + secret}}, harbor, 202},
		"X-Webhook-Secret":        {"/webhook?type=harbor", http.Header{"X-Webhook-Secret": {secret}}, harbor, 202},
		"address":                 {"/webhook?type=harbor&secret=" + secret, nil, harbor, 202},
		"path":                    {"/webhook/harbor?secret=" + secret, nil, harbor, 202},
		"address ending in /":     {"/webhook/?type=harbor&secret=" + secret, nil, harbor, 202},
		"behind a prefix":         {"/imgbump/webhook/harbor?secret=" + secret, nil, harbor, 202},
		"X-Registry-Type":         {"/webhook?secret=" + secret, http.Header{"X-Registry-Type": {"harbor"}}, harbor, 202},
		"none":                    {"/webhook?type=harbor", nil, harbor, 401},
		"empty":                   {"/webhook?type=harbor&secret=", http.Header{"Authorization": {""}, "X-Webhook-Secret": {""}}, harbor, 401},
		"wrong":                   {"/webhook?type=harbor", http.Header{"Authorization": {"t0p.secret"}}, harbor, 401},
		"longer":                  {"/webhook?type=harbor", http.Header{"Authorization": {secret + "x"}}, harbor, 401},
		"shorter":                 {"/webhook?type=harbor", http.Header{"Authorization": {secret[:5]}}, harbor, 401},
		"bare Bearer":             {"/webhook?type=harbor", http.Header{"Authorization": {"Bearer "}}, harbor, 401},
		"of another type":         {"/webhook?type=quay.io&secret=" + secret, nil, harbor, 401},
		"type without one":        {"/webhook?type=acr&secret=" + secret, nil, harbor, 404},
		"no type":                 {"/webhook?secret=" + secret, nil, harbor, 404},
		"unknown type":            {"/webhook?type=nosuch&secret=" + secret, nil, harbor, 404},
		"Harbor's test":           {"/webhook?type=harbor", nil, nil, 200},
		"Harbor's test, wrong":    {"/webhook?type=harbor&secret=x", nil, nil, 401},
		"signed":                  {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {signature(secret, github)}}, github, 202},
		"signed form":             {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {signature(secret, form)}}, form, 202},
		"signed by another":       {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {signature("other", github)}}, github, 401},
		"signature of other text": {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {signature(secret, harbor)}}, github, 401},
		"no hex":                  {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {"sha256=xyz"}}, github, 401},
		"signature and more":      {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {signature(secret, github) + "zz"}}, github, 401},
		"half a signature":        {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"package"}, "X-Hub-Signature-256": {signature(secret, github)[:39]}}, github, 401},
		"secret, not signed":      {"/webhook?type=ghcr.io&secret=" + secret, http.Header{"X-Github-Event": {"package"}, "Authorization": {secret}}, github, 401},
		"ping without signature":  {"/webhook?type=ghcr.io", http.Header{"X-Github-Event": {"ping"}}, github, 401},
	} {
		t.Run(name, func(t *testing.T) {
			rc := newReceiver(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: secret, webhook.GHCR: secret, webhook.Quay: "another"}})
			got := rc.post(tt.address, tt.header, tt.body)
			if got.Code != tt.want {
				t.Errorf("status %d, want %d: %s", got.Code, tt.want, got.Body)
			}
			want := map[int]string{202: webhook.Accepted, 200: webhook.Ignored, 401: webhook.Unauthorized, 404: ""}[tt.want]
			if rc.outcome() != want || (len(rc.events) > 0) != (tt.want == 202) {
				t.Errorf("outcome %q, events %v", rc.outcome(), rc.events)
			}
			rc.holds(secret, got)
			if tt.want == 401 {
				rc.holds("sandbox", got)
				if !strings.Contains(rc.log.String(), "outcome=unauthorized") {
					t.Errorf("log: %s", rc.log.String())
				}
			}
		})
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	o := webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "T0p"}}
	asJSON, err := json.Marshal(o.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", o.Secrets[webhook.Harbor], "all", o.Secrets)
	if shown := fmt.Sprintf("%v %+v %#v %s %q", o.Secrets, o, o.Secrets, o.Secrets[webhook.Harbor], o.Secrets[webhook.Harbor]) + string(asJSON) + log.String(); strings.Contains(shown, "T0p") {
		t.Error(shown)
	}
}

func TestMethods(t *testing.T) {
	rc := newReceiver(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a", webhook.CloudEvents: "b"}})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		got := rc.do(method, "/webhook?type=harbor&secret=a", nil, nil)
		if got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", method, got.Code, got.Header().Get("Allow"))
		}
	}
	origin := http.Header{"Webhook-Request-Origin": {"eventgrid.azure.net"}}
	got := rc.do(http.MethodOptions, "/webhook?type=cloudevents&secret=b", origin, nil)
	if got.Code != http.StatusOK || got.Header().Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	if got := rc.do(http.MethodOptions, "/webhook?type=cloudevents&secret=x", origin, nil); got.Code != http.StatusUnauthorized || got.Header().Get("WebHook-Allowed-Origin") != "" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	if len(rc.outcomes) > 0 {
		t.Errorf("outcomes %v", rc.outcomes)
	}
}

// countless is a body of 10 MB that counts what is read of it.
type countless struct{ read int }

func (c *countless) Read(p []byte) (int, error) {
	if c.read >= 10_000_000 {
		return 0, io.EOF
	}
	c.read += len(p)
	return len(p), nil
}

func TestTooLarge(t *testing.T) {
	rc := newReceiver(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a"}})
	for declared, most := range map[int64]int{-1: 1_100_000, 10_000_000: 0} {
		body := &countless{}
		r := httptest.NewRequest(http.MethodPost, "/webhook/harbor?secret=a", body)
		r.ContentLength = declared
		w := httptest.NewRecorder()
		rc.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge || rc.outcome() != webhook.TooLarge || body.read > most {
			t.Errorf("declared %d: status %d, outcome %q, %d bytes read", declared, w.Code, rc.outcome(), body.read)
		}
	}
	body := &countless{}
	w := httptest.NewRecorder()
	rc.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhook/harbor?secret=x", body))
	if w.Code != http.StatusUnauthorized || body.read > 0 {
		t.Errorf("status %d, %d bytes read of a stranger's", w.Code, body.read)
	}
	nested := []byte(`{"type":"PUSH_ARTIFACT","x":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + "}")
	if got := rc.post("/webhook/harbor?secret=a", nil, nested); got.Code != http.StatusBadRequest {
		t.Errorf("nested deeply: %d", got.Code)
	}
}

// The same delivery again is answered, and leads to nothing; for how long depends on when it came.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rc := newReceiver(t, webhook.Options{Open: webhook.Kinds()})
		send := func(address, file string, header http.Header) string {
			rc.post("/webhook/"+address, header, read(t, file))
			return rc.outcome()
		}
		github := func(id string) http.Header {
			return http.Header{"X-Github-Event": {"package"}, "X-Github-Delivery": {id}}
		}
		for _, tt := range []struct {
			address, file string
			header        http.Header
			again         string
		}{
			{"ghcr.io", "ghcr.io/package.json", github("1"), webhook.Replayed},
			{"ghcr.io", "ghcr.io/package.json", github("2"), webhook.Replayed},
			{"acr", "acr/push.json", nil, webhook.Replayed},
			{"cloudevents", "cloudevents/ecr.json", nil, webhook.Replayed},
			{"harbor", "harbor/cloudevents.json", nil, webhook.Replayed},
			{"distribution", "distribution/envelope.json", nil, webhook.Replayed},
			{"harbor", "harbor/push-artifact.json", nil, webhook.Accepted},
			{"quay.io", "quay.io/push.json", nil, webhook.Accepted},
		} {
			if got := send(tt.address, tt.file, tt.header); got != webhook.Accepted {
				t.Errorf("%s %s: %s", tt.address, tt.file, got)
			}
			events := len(rc.events)
			if got := send(tt.address, tt.file, tt.header); got != tt.again {
				t.Errorf("%s %s again: %s", tt.address, tt.file, got)
			}
			if told := len(rc.events) > events; told != (tt.again == webhook.Accepted) {
				t.Errorf("%s %s again: told %t", tt.address, tt.file, told)
			}
		}
		time.Sleep(9 * time.Minute)
		if got := send("acr", "acr/push.json", nil); got != webhook.Replayed {
			t.Errorf("after 9 minutes: %s", got)
		}
		time.Sleep(11 * time.Minute)
		if got := send("acr", "acr/push.json", nil); got != webhook.Accepted {
			t.Errorf("after 20 minutes: %s", got)
		}
	})
}

// A delivery of which nothing came may be sent again, when somebody waits for the image.
func TestUnknownIsNotReplayed(t *testing.T) {
	rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{webhook.ACR}})
	rc.known = func(webhook.Event) bool { return false }
	got := rc.post("/webhook/acr", nil, read(t, "acr/push.json"))
	if got.Code != http.StatusAccepted || rc.outcome() != webhook.Unknown || !strings.Contains(rc.log.String(), "image=example.azurecr.io/shop/api:v1@sha256") {
		t.Errorf("status %d, outcome %q, log %s", got.Code, rc.outcome(), rc.log.String())
	}
	rc.known = func(webhook.Event) bool { return true }
	if rc.post("/webhook/acr", nil, read(t, "acr/push.json")); rc.outcome() != webhook.Accepted {
		t.Errorf("then: %q", rc.outcome())
	}
}

// How many are remembered is bounded, whatever is sent.
func TestRemembersTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{webhook.ACR}})
		send := func(id int) string {
			rc.post("/webhook/acr", nil, fmt.Appendf(nil, `{"id":"%d","action":"push","target":{"repository":"a/b","tag":"1"},"request":{"host":"example.com"}}`, id))
			time.Sleep(20 * time.Millisecond)
			return rc.outcome()
		}
		const all = 3 * 4096
		for id := range all {
			if got := send(id); got != webhook.Accepted {
				t.Fatalf("%d: %s", id, got)
			}
		}
		if got := send(0); got != webhook.Accepted {
			t.Errorf("the oldest: %s", got)
		}
		if got := send(all - 4000); got != webhook.Replayed {
			t.Errorf("a new one: %s", got)
		}
	})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rc := newReceiver(t, webhook.Options{
			Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a", webhook.Quay: "a"}, Rate: 2,
		})
		body := read(t, "harbor/push-artifact.json")
		for range 100 { // a stranger takes nothing from those who have the secret
			rc.post("/webhook/harbor?secret=x", nil, body)
		}
		for i := range 20 {
			if got := rc.post("/webhook/harbor?secret=a", nil, body); got.Code != http.StatusAccepted {
				t.Fatalf("%d: status %d", i, got.Code)
			}
		}
		got := rc.post("/webhook/harbor?secret=a", nil, body)
		if got.Code != http.StatusTooManyRequests || got.Header().Get("Retry-After") != "1" || rc.outcome() != webhook.Limited {
			t.Errorf("status %d, Retry-After %q, outcome %q", got.Code, got.Header().Get("Retry-After"), rc.outcome())
		}
		if got := rc.post("/webhook/quay.io?secret=a", nil, read(t, "quay.io/push.json")); got.Code != http.StatusAccepted {
			t.Errorf("another type: status %d", got.Code)
		}
		time.Sleep(500 * time.Millisecond)
		if got := rc.post("/webhook/harbor?secret=a", nil, body); got.Code != http.StatusAccepted {
			t.Errorf("later: status %d", got.Code)
		}
	})
}

// By default a thousand at once are taken.
func TestBurst(t *testing.T) {
	rc := newReceiver(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a"}})
	body := read(t, "harbor/push-artifact.json")
	for range 1000 {
		if got := rc.post("/webhook/harbor?secret=a", nil, body); got.Code != http.StatusAccepted {
			t.Fatal(got.Code)
		}
	}
}

// A clock that is ahead makes no event of the future, and one that never was makes none of 1970.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands at 2000-01-01
		rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{webhook.Harbor}})
		for at, want := range map[string]time.Time{
			"946684799": time.Unix(946684799, 0), "4000000000": time.Now(), "0": {}, "-5": {}, "1e300": {},
		} {
			rc.events = nil
			rc.post("/webhook/harbor", nil, []byte(`{"type":"PUSH_ARTIFACT","occur_at":`+at+`,"event_data":{"resources":[{"tag":"1","resource_url":"example.com/a/b:1"}],"repository":{"repo_full_name":"a/b"}}}`))
			if len(rc.events) != 1 || !rc.events[0].At.Equal(want) {
				t.Errorf("%s: %v, want %v", at, rc.events, want)
			}
		}
	})
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]webhook.Options{
		"unknown type":           {Secrets: map[webhook.Kind]webhook.Secret{"nosuch": "S3cret"}},
		"unknown open type":      {Open: []webhook.Kind{"nosuch"}},
		"empty secret":           {Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: ""}},
		"secret with a line end": {Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "S3cret\n"}},
		"secret with a tab":      {Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "S3c\tret"}},
		"both":                   {Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "S3cret"}, Open: []webhook.Kind{webhook.Harbor}},
		"alias to nothing":       {Aliases: map[string]string{"a": ""}},
		"alias to a word":        {Aliases: map[string]string{"a": "harbor"}},
		"alias of a repository":  {Aliases: map[string]string{"a.example/b": "harbor.example.com"}},
		"negative rate":          {Rate: -1},
	} {
		_, err := webhook.New(o)
		if fault.KindOf(err) != fault.Usage || strings.Contains(fmt.Sprint(err, fault.HintOf(err)), "S3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := webhook.ParseKind("harbour"); fault.HintOf(err) != "the types are acr, aliyun-acr, cloudevents, distribution, docker.io, ghcr.io, gitlab, harbor, quay.io" {
		t.Error(fault.HintOf(err))
	}
}
