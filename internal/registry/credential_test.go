package registry_test

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
	wrong := strings.Replace(`{"auths":{"HOST":{"username":"`+robot+`","password":"wrong-pass"}}}`, "HOST", s.Host, 1)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	outdated := registry.New(registry.Options{})
	_, err := outdated.Push(t.Context(), streaming(t, empty.Image, "a"), r)
	check(t, err, fault.Denied, "refused the login of "+robot, "HARBOR_PASSWORD")
	_, err = outdated.Login(t.Context(), s.Host)
	check(t, err, fault.Denied, "refused the login of "+robot, "HARBOR_PASSWORD")
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"nosuch"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = registry.New(registry.Options{}).Push(t.Context(), streaming(t, empty.Image, "a"), r)
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

// TestCredentialHelperHangs has a helper wait for ever in a program of its own, which must not be left behind.
func TestCredentialHelperHangs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	alive := filepath.Join(dir, "alive")
	for name, content := range map[string]string{
		"config.json":            `{"credsStore":"slow"}`,
		"docker-credential-slow": "#!/bin/sh\nsleep 600 3>" + alive + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(alive, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		f, err := os.Open(alive) // once the helper does
		cancel()
		if err == nil {
			_, err = io.ReadAll(f) // to the end of the last one that has it open
		}
		ended <- err
	}()
	if _, err := registry.New(registry.Options{}).Digest(ctx, ref(t, "127.0.0.1:1/team/app:1")); err == nil {
		t.Error("there is a login")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLogins has a login in each way in which Docker's configuration, or Podman's, keeps one.
func TestLogins(t *testing.T) {
	var refreshed string // the identity token that the token service was shown
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && r.URL.Path == "/service/token" {
			r.ParseForm()
			refreshed = r.PostForm.Get("refresh_token")
			w.WriteHeader(http.StatusUnauthorized)
		}
		return r.Method == http.MethodPost && r.URL.Path == "/service/token"
	}})
	const helper = "#!/bin/sh\nenv > $0.env\ncat > $0.asked\n"
	auth := `{"auths":{"` + s.Host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(robot+":"+secret)) + `"}}}`
	asIdentity := map[string]bool{"identity token": true, "helper's identity token": true}
	for name, files := range map[string]map[string]string{
		"user and password": {"docker/config.json": `{"auths":{"` + s.Host + `":{"username":"` + robot + `","password":"` + secret + `"}}}`},
		"an address":        {"docker/config.json": strings.Replace(auth, s.Host, "http://"+s.Host+"/v2/", 1)},
		"podman":            {"run/containers/auth.json": auth},
		"podman's settings": {"settings/containers/auth.json": auth},
		"credHelpers":       {"docker/config.json": `{"credsStore":"nosuch","credHelpers":{"` + s.Host + `":"fine"}}`, "docker-credential-fine": helper + `echo '{"Username":"` + robot + `","Secret":"` + secret + `"}'`},
		"credsStore":        {"docker/config.json": `{"credsStore":"fine"}`, "docker-credential-fine": helper + `echo '{"Username":"` + robot + `","Secret":"` + secret + `"}'`},
		"identity token":    {"docker/config.json": `{"auths":{"` + s.Host + `":{"identitytoken":"` + secret + `"}}}`},
		"helper's identity token": {"docker/config.json": `{"credsStore":"fine"}`,
			"docker-credential-fine": helper + `echo '{"Username":"<token>","Secret":"` + secret + `"}'`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for key, value := range map[string]string{
				"PATH": dir + ":" + os.Getenv("PATH"), "DOCKER_CONFIG": dir + "/docker", "XDG_RUNTIME_DIR": dir + "/run", "XDG_CONFIG_HOME": dir + "/settings",
				"HARBOR_PASSWORD": "C4nary", "IMGBUMP_TOKEN": "C4nary",
			} {
				t.Setenv(key, value)
			}
			refreshed = ""
			_, err := registry.New(registry.Options{}).Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
			switch {
			case asIdentity[name] && (refreshed != secret || fault.KindOf(err) != fault.Denied):
				t.Errorf("the token service saw %q; %v", refreshed, err)
			case !asIdentity[name] && err != nil:
				t.Error(err)
			}
			if _, helped := files["docker-credential-fine"]; !helped {
				return
			}
			if env, err := os.ReadFile(filepath.Join(dir, "docker-credential-fine.env")); err != nil || strings.Contains(string(env), "C4nary") {
				t.Errorf("the helper inherits %s, %v", env, err)
			}
			if asked, err := os.ReadFile(filepath.Join(dir, "docker-credential-fine.asked")); err != nil || string(asked) != s.Host {
				t.Errorf("the helper is asked for %s, %v", asked, err)
			}
		})
	}
}

// TestHelperThatKnowsNothing goes on as nobody; one that never answers ends with the command.
func TestHelperThatKnowsNothing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for file, content := range map[string]string{
		"config.json":             `{"credsStore":"empty","credHelpers":{"127.0.0.1:1":"slow"}}`,
		"docker-credential-empty": "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n",
		"docker-credential-slow":  "#!/bin/sh\nexec sleep 600\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := registry.New(registry.Options{}).Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := registry.New(registry.Options{}).Digest(ctx, ref(t, "127.0.0.1:1/team/app:1")); err == nil {
		t.Error("no error")
	}
}

// TestTokenServiceWithoutTLS has a registry with TLS want the password sent in the clear.
func TestTokenServiceWithoutTLS(t *testing.T) {
	thief := registrytest.Start(t, registrytest.Config{Projects: []string{"sandbox"}})
	s := harbor(t, registrytest.Config{TLS: true, Instead: func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Www-Authenticate", `Bearer realm="`+thief.URL+`/service/token",service="harbor-registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}})
	c := client(s, func(o *registry.Options) { o.RootCAs = pool(t, s.CA) })
	_, err := c.Digest(t.Context(), ref(t, "%s/sandbox/app:1", s.Host))
	check(t, err, fault.Failed, "without TLS", "external_url")
	if r := thief.Requests(); len(r) > 0 {
		t.Errorf("the token service saw %+v", r)
	}
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
