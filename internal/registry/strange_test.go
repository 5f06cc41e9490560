package registry_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestStrangeAnswers has answers that no registry gives: of proxies, firewalls, login pages.
func TestStrangeAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		path       string
		status     int
		body       string
		endless    bool
		kind       fault.Kind
		part, hint string
	}{
		"page for a token":      {path: "/service/token", status: 200, body: "<html>Welcome", part: "gives no token", hint: "A proxy or a web page"},
		"nothing for a token":   {path: "/service/token", status: 200, body: `{"wr0ng":"` + secret + `"}`, part: "gives no token", hint: "A proxy or a web page"},
		"endless token":         {path: "/service/token", status: 200, body: strings.Repeat(" ", 1<<16), endless: true, part: "gives no token", hint: "A proxy or a web page"},
		"endless refusal":       {path: "/blobs/", status: 400, body: strings.Repeat("<", 1<<16), endless: true, part: "answers 400 Bad Request, and not as a registry does", hint: "A proxy or a web page"},
		"endless greeting":      {path: "/v2/", status: 400, body: strings.Repeat("<", 1<<16), endless: true, part: "answers 400 Bad Request", hint: "A proxy or a web page"},
		"token service down":    {path: "/service/token", status: 502, body: "<html>", part: "answers 502 Bad Gateway", hint: "pods"},
		"token service gone":    {path: "/service/token", status: 302, part: "sends its clients on to localhost:1", hint: "external_url"},
		"firewall":              {path: "/blobs/", status: 403, body: "<html>", kind: fault.Denied, part: "answers 403 Forbidden, and not as a registry does", hint: "A proxy or a web page"},
		"uploads elsewhere":     {path: "/blobs/", status: 302, part: "localhost:1: connection refused", hint: "running"},
		"login without a place": {path: "/v2/", status: 401, part: "wants a login, and does not say where", hint: "A proxy or a web page"},
	} {
		t.Run(name, func(t *testing.T) {
			s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, tt.path) {
					return false
				}
				w.Header().Set("Location", "http://localhost:1/login?token="+secret)
				w.WriteHeader(tt.status)
				for {
					if _, err := io.WriteString(w, tt.body); err != nil || !tt.endless {
						return true
					}
				}
			}})
			_, err := client(s).Push(t.Context(), streaming(t, empty.Image, "app"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
			check(t, err, tt.kind, tt.part, tt.hint)
		})
	}
}
