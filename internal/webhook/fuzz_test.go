package webhook_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/webhook"
)

// Whatever is sent: no panic, an answer that says why, and no event whose image could not stand in a manifest.
func FuzzReceive(f *testing.F) {
	seeds, err := filepath.Glob("testdata/[a-z]*/*.json")
	if err != nil || len(seeds) < 20 {
		f.Fatal(len(seeds), err)
	}
	for _, seed := range seeds {
		body, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		kind := filepath.Base(filepath.Dir(seed))
		f.Add(kind, "package", body)
		f.Add(kind, "registry_package", append([]byte("payload="), url.QueryEscape(string(body))...))
	}
	answers := map[int]bool{http.StatusOK: true, http.StatusAccepted: true, http.StatusBadRequest: true, http.StatusNotFound: true, http.StatusRequestEntityTooLarge: true, http.StatusTooManyRequests: true}
	f.Fuzz(func(t *testing.T, kind, event string, body []byte) {
		if _, err := webhook.ParseKind(kind); err != nil {
			t.Skip()
		}
		rc := newReceiver(t, webhook.Options{Open: webhook.Kinds()})
		got := rc.post("/webhook/"+kind, http.Header{"X-Github-Event": {event}}, body)
		if !answers[got.Code] || got.Body.Len() > 300 || rc.outcome() == "" {
			t.Errorf("status %d, outcome %q: %s", got.Code, rc.outcome(), got.Body)
		}
		if (rc.outcome() == webhook.Accepted) != (len(rc.events) > 0) {
			t.Errorf("outcome %q, %d events", rc.outcome(), len(rc.events))
		}
		for _, e := range rc.events {
			again, err := imageref.Parse(e.Image.String())
			if err != nil || again != e.Image || e.Image.Registry == "" || strings.ToLower(e.Image.Name()) != e.Image.Name() {
				t.Errorf("%#v: %v", e.Image, err)
			}
		}
	})
}
