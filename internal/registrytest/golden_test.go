package registrytest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/registrytest"
)

const (
	ci      = "robot$sandbox+ci"
	ro      = "robot$sandbox+ro"
	secret  = "CiSecret123"
	dockerV = "application/vnd.docker.distribution.manifest.v2+json"
	push    = "repository:sandbox/x:push,pull"
)

// unknownBlobs names blobs that no repository has.
const unknownBlobs = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":5,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}]}`

// TestAnswersAreHarbors compares our answers with those recorded from Harbor 2.16: status, the headers that a client
// reads, and the body byte for byte.
func TestAnswersAreHarbors(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{
		Projects:  []string{"sandbox"},
		Robots:    []registrytest.Robot{{Name: ci, Secret: secret, Project: "sandbox", Push: true}, {Name: ro, Secret: secret, Project: "sandbox"}},
		Immutable: []string{"sandbox/x:rel-*"},
	})
	readOnly := registrytest.Start(t, registrytest.Config{
		Projects: []string{"sandbox"}, ReadOnly: true,
		Robots: []registrytest.Robot{{Name: ci, Secret: secret, Project: "sandbox", Push: true}},
	})
	token := tokenFor(t, s, ci, secret, push)
	put(t, s.URL+"/v2/sandbox/x/manifests/rel-1", token, emptyIndex)
	for transcript, tt := range map[string]struct {
		method, path       string
		user, pass, bearer string
		body               string
		server             *registrytest.Server
	}{
		"key-01-unauth-v2":                      {method: "GET", path: "/v2/"},
		"key-02-unauth-push":                    {method: "POST", path: "/v2/sandbox/x/blobs/uploads/"},
		"key-03-bad-credentials-basic":          {method: "GET", path: "/v2/", user: ci, pass: "wrong"},
		"key-05-bad-credentials-token-no-scope": {method: "GET", path: "/service/token?service=harbor-registry", user: ci, pass: "wrong"},
		"key-06-empty-token-push":               {method: "POST", path: "/v2/sandbox/x/blobs/uploads/", bearer: tokenFor(t, s, ci, "wrong", push)},
		"key-07-project-missing-push":           {method: "POST", path: "/v2/nosuch/x/blobs/uploads/", bearer: token},
		"key-08-project-missing-head":           {method: "HEAD", path: "/v2/nosuch/x/manifests/1", bearer: token},
		"key-11-robot-noperm-push":              {method: "POST", path: "/v2/sandbox/x/blobs/uploads/", bearer: tokenFor(t, s, ro, secret, push)},
		"key-14-immutable-put-other":            {method: "PUT", path: "/v2/sandbox/x/manifests/rel-1", bearer: token, body: unknownBlobs},
		"key-15-immutable-put-same-digest":      {method: "PUT", path: "/v2/sandbox/x/manifests/rel-1", bearer: token, body: emptyIndex},
		"key-27-head-manifest-missing":          {method: "HEAD", path: "/v2/sandbox/x/manifests/none", bearer: token},
		"23-v2-manifest-get-anon":               {method: "GET", path: "/v2/sandbox/x/manifests/1"},
		"24-v2-manifest-put-anon":               {method: "PUT", path: "/v2/sandbox/x/manifests/9", body: "{}"},
		"38-push-noslash":                       {method: "POST", path: "/v2/x/blobs/uploads/", user: ci, pass: secret},
		"72-v2-manifest-missing":                {method: "GET", path: "/v2/sandbox/x/manifests/nosuch", user: ci, pass: secret},
		"150-v2-put-manifest-blob-unknown":      {method: "PUT", path: "/v2/sandbox/x/manifests/bad", bearer: token, body: unknownBlobs},
		"192-push-readonly":                     {method: "POST", path: "/v2/sandbox/x/blobs/uploads/", server: readOnly, user: ci, pass: secret},
	} {
		t.Run(transcript, func(t *testing.T) {
			server := s
			if tt.server != nil {
				server = tt.server
			}
			req, err := http.NewRequest(tt.method, server.URL+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.user != "" {
				req.SetBasicAuth(tt.user, tt.pass)
			}
			if tt.bearer != "" {
				req.Header.Set("Authorization", "Bearer "+tt.bearer)
			}
			got := do(t, req)
			if diff := cmp.Diff(recorded(t, transcript, server.Host), got); diff != "" {
				t.Errorf("Harbor and we differ (-Harbor +ours):\n%s", diff)
			}
		})
	}
}

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

// TestQuotaAnswer pushes beyond the quota: opening and sending go well, closing does not.
func TestQuotaAnswer(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{
		Projects: []string{"sandbox"}, Quota: map[string]int64{"sandbox": 399974},
		Robots: []registrytest.Robot{{Name: ci, Secret: secret, Project: "sandbox", Push: true}},
	})
	token := tokenFor(t, s, ci, secret, push)
	resp, err := http.DefaultClient.Do(request(t, "POST", s.URL+"/v2/sandbox/x/blobs/uploads/", token, ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp, err = http.DefaultClient.Do(request(t, "PATCH", resp.Header.Get("Location"), token, strings.Repeat("x", 6001162)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Range") != "0-6001161" {
		t.Fatalf("PATCH: %+v", resp)
	}
	got := do(t, request(t, "PUT", resp.Header.Get("Location")+"&digest=sha256:da4ccc1c0efd85a1d13249e92f778c28bdf2da25a2b128b5e018327e89eeff9b", token, ""))
	want := recorded(t, "key-18-quota-put", s.Host)
	want.Body = strings.Replace(want.Body, "61.6 KiB", "0.0 B", 1)
	want.ContentLength = got.ContentLength
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Harbor and we differ (-Harbor +ours):\n%s", diff)
	}
}

// answer is what a client can tell apart.
type answer struct {
	Status        int
	Authenticate  []string // nil when absent, [""] when empty
	ContentType   string
	ContentLength string
	Body          string
}

func answerOf(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{
		Status:        resp.StatusCode,
		Authenticate:  resp.Header["Www-Authenticate"],
		ContentType:   resp.Header.Get("Content-Type"),
		ContentLength: resp.Header.Get("Content-Length"),
		Body:          string(body),
	}
}

func do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, resp)
}

var commandLine = regexp.MustCompile(`^\$ curl -sSi .*\n`)

// recorded is Harbor's answer in a transcript, as if Harbor had run at host.
func recorded(t *testing.T, transcript, host string) answer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "harbor", transcript+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	method := http.MethodGet
	if bytes.Contains(data[:bytes.IndexByte(data, '\n')], []byte(" -I ")) {
		method = http.MethodHead
	}
	data = commandLine.ReplaceAll(data, nil)
	data = bytes.ReplaceAll(data, []byte("127.0.0.1:18080"), []byte(host))
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, resp)
}

func request(t *testing.T, method, url, token, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

func put(t *testing.T, url, token, manifest string) {
	t.Helper()
	if got := do(t, request(t, "PUT", url, token, manifest)); got.Status != http.StatusCreated {
		t.Fatalf("PUT %s: %+v", url, got)
	}
}

// tokenFor asks for a token with scope, which Harbor gives to anybody.
func tokenFor(t *testing.T, s *registrytest.Server, user, pass, scope string) string {
	t.Helper()
	req, err := http.NewRequest("GET", s.URL+"/service/token?service=harbor-registry&scope="+scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, pass)
	got := do(t, req)
	var body struct{ Token string }
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil || got.Status != http.StatusOK || body.Token == "" {
		t.Fatalf("token: %+v", got)
	}
	return body.Token
}
