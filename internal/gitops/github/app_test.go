package github_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gitops/github"
)

// keys are two private keys; making one takes a while.
var keys = sync.OnceValue(func() (two [2]*rsa.PrivateKey) {
	for i := range two {
		two[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return two
})

func pkcs1(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// install makes the server know an App that may do all that we need on acme/gitops.
func install(s *server, change func(*githubtest.App)) {
	app := githubtest.App{ID: "12345", ClientID: "Iv23liExample", Key: &keys()[0].PublicKey, Repositories: []string{"acme/gitops", "acme/other"},
		Permissions: map[string]string{"contents": "write", "pull_requests": "write", "metadata": "read", "actions": "write"}}
	if change != nil {
		change(&app)
	}
	s.Install(app)
}

func TestAppToken(t *testing.T) {
	for name, app := range map[string]github.App{
		"number, PKCS #1":    {ID: "12345", Key: pkcs1(keys()[0])},
		"client ID, PKCS #8": {ID: "Iv23liExample", Key: pkcs8(t, keys()[0])},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			install(s, nil)
			made, expires, err := github.AppToken(t.Context(), github.Options{APIURL: s.URL}, app, "acme", "gitops")
			if err != nil || expires.IsZero() {
				t.Fatalf("%v, %v", expires, err)
			}
			if last := s.Requests()[1]; last != `POST /app/installations/1/access_tokens {"repositories":["gitops"],"permissions":{"contents":"write","pull_requests":"write"}}` {
				t.Errorf("asked for %s", last)
			}
			c, err := github.New(github.Options{APIURL: s.URL, Token: made, TokenName: "the App's token"})
			if err != nil {
				t.Fatal(err)
			}
			w := s.series(t, "main")
			commits, err := c.Publish(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			s.landed(t, w, commits)
		})
	}
}

// An App that may only commit is good for committing.
func TestAppTokenWithoutPullRequests(t *testing.T) {
	s := start(t)
	install(s, func(a *githubtest.App) { a.Permissions = map[string]string{"contents": "write"} })
	if _, _, err := github.AppToken(t.Context(), github.Options{APIURL: s.URL}, github.App{ID: "12345", Key: pkcs1(keys()[0])}, "acme", "gitops"); err != nil {
		t.Error(err)
	}
}

func TestAppTokenRefused(t *testing.T) {
	for _, tt := range []struct {
		name       string
		given      func(s *server)
		id         string
		key        []byte
		repository string
		err, hint  string
	}{
		{"another App's key", nil, "12345", pkcs1(keys()[1]), "gitops", "HOST does not accept its signature", "one of this App"},
		{"wrong ID", nil, "54321", pkcs1(keys()[0]), "gitops", "HOST does not accept its signature", "the App's own or its client ID"},
		{"clock is slow", func(s *server) { s.Clock = func() time.Time { return time.Now().Add(15 * time.Minute) } },
			"12345", pkcs1(keys()[0]), "gitops", "this machine's clock and that of HOST are 15m0s apart", "set this machine's clock"},
		{"clock is fast", func(s *server) { s.Clock = func() time.Time { return time.Now().Add(-15 * time.Minute) } },
			"12345", pkcs1(keys()[0]), "gitops", "this machine's clock and that of HOST are 15m0s apart", "set this machine's clock"},
		{"not installed there", nil, "12345", pkcs1(keys()[0]), "elsewhere", "it is not installed there", "install the App on the repository"},
		{"suspended", func(s *server) { install(s, func(a *githubtest.App) { a.ID, a.Suspended = "7", true }) },
			"7", pkcs1(keys()[0]), "gitops", "its installation is suspended", "Settings, GitHub Apps"},
		{"may only read", func(s *server) {
			install(s, func(a *githubtest.App) { a.ID, a.Permissions = "8", map[string]string{"contents": "read"} })
		}, "8", pkcs1(keys()[0]), "gitops", "its installation lacks the permission to write contents", "Contents: Read and write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			install(s, nil)
			if tt.given != nil {
				tt.given(s)
			}
			_, _, err := github.AppToken(t.Context(), github.Options{APIURL: s.URL}, github.App{ID: tt.id, Key: tt.key}, "acme", tt.repository)
			want := "get a token of the App " + tt.id + " for acme/" + tt.repository + ": " + strings.ReplaceAll(tt.err, "HOST", strings.TrimPrefix(s.URL, "http://"))
			if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(fault.HintOf(err), tt.hint) || fault.KindOf(err) != fault.Denied {
				t.Errorf("%v (%s)\nwant %s", err, fault.HintOf(err), want)
			}
		})
	}
}

func TestAppKeyRefused(t *testing.T) {
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&keys()[0].PublicKey)})
	for name, app := range map[string]github.App{
		"no PEM":      {ID: "1", Key: []byte("canary-0123456789")},
		"empty":       {ID: "1"},
		"a public":    {ID: "1", Key: public},
		"elliptic":    {ID: "1", Key: pkcs8(t, elliptic)},
		"damaged":     {ID: "1", Key: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("canary-0123456789")})},
		"without ID":  {Key: pkcs1(keys()[0])},
		"an SSH kind": {ID: "1", Key: pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("canary-0123456789")})},
	} {
		_, _, err := github.AppToken(t.Context(), github.Options{APIURL: "http://127.0.0.1:1"}, app, "acme", "gitops")
		if fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		noSecret(t, err)
	}
}

// The App's claim goes to one host only.
func TestAppTokenStays(t *testing.T) {
	s := start(t)
	install(s, nil)
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://localhost:1"+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	_, _, err := github.AppToken(t.Context(), github.Options{APIURL: s.URL}, github.App{ID: "12345", Key: pkcs1(keys()[0])}, "acme", "gitops")
	if err == nil || !strings.Contains(err.Error(), "which the token is not for") || strings.Contains(err.Error(), "eyJ") {
		t.Error(err)
	}
}
