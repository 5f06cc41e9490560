package registry_test

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// saw are the requests to s that could tell it Harbor's password, or a token got with it.
func saw(s *registrytest.Server) []registrytest.Request {
	var all []registrytest.Request
	for _, r := range s.Requests() {
		if r.Authorization != "" {
			all = append(all, r)
		}
	}
	return all
}

// TestBaseNeverSeesHarborsPassword builds on another registry's image and pushes to Harbor.
func TestBaseNeverSeesHarborsPassword(t *testing.T) {
	base, target := registrytest.Start(t, registrytest.Config{}), harbor(t, registrytest.Config{})
	c := client(target)
	from := ref(t, "%s/library/base:1", base.Host)
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "base"), []imageref.Ref{from}); err != nil {
		t.Fatal(err)
	}
	img, err := c.Image(t.Context(), from, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(t.Context(), streaming(t, img, "app"), []imageref.Ref{ref(t, "%s/sandbox/app:1", target.Host)}); err != nil {
		t.Fatal(err)
	}
	if r := saw(base); len(r) > 0 {
		t.Errorf("the base's registry saw %+v", r)
	}
	if len(saw(target)) == 0 {
		t.Error("Harbor saw no login")
	}
}

// TestRedirectLosesTheLogin sends blobs to another port of the same address, which net/http takes for the same host.
func TestRedirectLosesTheLogin(t *testing.T) {
	store := registrytest.Start(t, registrytest.Config{})
	redirect := false
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if redirect && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, store.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}})
	img := streaming(t, empty.Image, "a")
	r := ref(t, "%s/sandbox/app:1", s.Host)
	for _, host := range []imageref.Ref{r, ref(t, "%s/sandbox/app:1", store.Host)} {
		if _, err := client(s).Push(t.Context(), img, []imageref.Ref{host}); err != nil {
			t.Fatal(err)
		}
	}
	redirect = true
	got, err := client(s).Image(t.Context(), r, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Fatal(err)
	}
	if n := store.Count("GET", "/blobs/"); n == 0 {
		t.Error("nothing was redirected")
	}
	if r := saw(store); len(r) > 0 {
		t.Errorf("the store saw %+v", r)
	}
}

// TestTokenServiceElsewhere has a registry that wants the password sent to another host, and one that redirects there.
func TestTokenServiceElsewhere(t *testing.T) {
	thief := registrytest.Start(t, registrytest.Config{})
	stolen, _ := url.Parse(thief.URL)
	for name, instead := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"realm": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Www-Authenticate", `Bearer realm="http://localhost:`+stolen.Port()+`/service/token",service="harbor-registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/service/token" {
				http.Redirect(w, r, "http://localhost:"+stolen.Port()+"/service/token", http.StatusTemporaryRedirect)
				return true
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := harbor(t, registrytest.Config{Instead: instead})
			_, err := client(s).Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
			if err == nil {
				t.Error("no error")
			}
			if r := thief.Requests(); len(r) > 0 {
				t.Errorf("the other host saw %+v", r)
			}
		})
	}
}

// TestDockerConfiguration logs in to other hosts with Docker's configuration.
func TestDockerConfiguration(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	dir := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte(robot + ":" + secret))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+s.Host+`":{"auth":"`+auth+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	c := registry.New(registry.Options{Credential: registry.Credential{Host: "harbor.test", Username: "other", Password: "pass"}})
	r := []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)}
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "a"), r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"nosuch"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := registry.New(registry.Options{}).Push(t.Context(), streaming(t, empty.Image, "a"), r)
	check(t, err, fault.Denied, "docker-credential-nosuch", "DOCKER_CONFIG")
}

// TestCredentialHelperIsQuiet has a helper fail with a secret on its lips.
func TestCredentialHelperIsQuiet(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, content := range map[string]string{
		"config.json":                `{"credHelpers":{"127.0.0.1:1":"mean"}}`,
		"docker-credential-mean":     "#!/bin/sh\necho token=" + secret + " failed\nexit 1\n",
		"docker-credential-careless": "#!/bin/sh\necho token=" + secret + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, err := registry.New(registry.Options{}).Digest(t.Context(), ref(t, "127.0.0.1:1/team/app:1"))
	check(t, err, fault.Denied, "docker-credential-mean failed", "know the registry")
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"careless"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = registry.New(registry.Options{}).Digest(t.Context(), ref(t, "127.0.0.1:1/team/app:1"))
	check(t, err, fault.Denied, "docker-credential-careless failed", "")
}

// TestRevokedToken has a registry revoke the tokens that it gave, and one that accepts none.
func TestRevokedToken(t *testing.T) {
	revoked := map[string]bool{}
	all := false
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		authorization := r.Header.Get("Authorization")
		if !strings.HasPrefix(authorization, "Bearer ") || !all && !revoked[authorization] {
			return false
		}
		w.Header().Set("Www-Authenticate", `Bearer realm="http://`+r.Host+`/service/token",service="harbor-registry",error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}})
	c := client(s)
	push := func(tag string) error {
		_, err := c.Push(t.Context(), streaming(t, empty.Image, tag), []imageref.Ref{ref(t, "%s/sandbox/app:%s", s.Host, tag)})
		return err
	}
	if err := push("1"); err != nil {
		t.Fatal(err)
	}
	for _, r := range saw(s) {
		revoked[r.Authorization] = true
	}
	s.Forget()
	if err := push("2"); err != nil {
		t.Errorf("after the token was revoked: %v", err)
	}
	if n := s.Count("GET", "/service/token"); n != 1 {
		t.Errorf("%d tokens asked for, want 1", n)
	}
	all = true
	check(t, push("3"), fault.Denied, "does not accept the token of its token service", "clocks")
}

// TestUploadWithoutTLS sends uploads to the same host, but in the clear.
func TestUploadWithoutTLS(t *testing.T) {
	s := harbor(t, registrytest.Config{TLS: true, Names: []string{"harbor.test"}, Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "http://harbor.test/v2/sandbox/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		}
		return r.Method == http.MethodPost
	}})
	_, port, _ := net.SplitHostPort(s.Host)
	c := client(s, func(o *registry.Options) {
		o.Credential.Host, o.Resolve, o.RootCAs = "harbor.test:"+port, map[string]string{"harbor.test": "127.0.0.1"}, pool(t, s.CA)
	})
	_, err := c.Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "harbor.test:%s/sandbox/app:1", port)})
	check(t, err, fault.Failed, "push harbor.test:"+port+"/sandbox/app: it sends its clients on to http://, without TLS", "external_url")
}
