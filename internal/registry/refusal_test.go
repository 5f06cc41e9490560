package registry_test

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

func login(user, pass string) func(*registry.Options) {
	return func(o *registry.Options) { o.Credential.Username, o.Credential.Password = user, pass }
}

// TestRefusals holds what people are told when Harbor says no: kind (and so the exit code), cause and next step.
func TestRefusals(t *testing.T) {
	reader := registrytest.Robot{Name: "robot$sandbox+ro", Secret: "RoSecret123", Project: "sandbox"}
	for name, tt := range map[string]struct {
		config     registrytest.Config
		change     func(*registry.Options)
		repository string
		before     string // pushed first
		kind       fault.Kind
		is         error
		part, hint string
	}{
		"wrong password": {is: registry.ErrLogin, change: login(robot, "wrong-pass"), kind: fault.Denied,
			part: "refused the login of robot$sandbox+ci", hint: "HARBOR_PASSWORD"},
		"no login": {change: login("", ""), kind: fault.Denied, part: "wants a login", hint: "HARBOR_USERNAME"},
		"login of another host": {change: func(o *registry.Options) { o.Credential.Host = "harbor.test" }, kind: fault.Denied,
			part: "wants a login, and the one of robot$sandbox+ci is for harbor.test", hint: "HARBOR_URL"},
		"no right": {is: registry.ErrRight, config: registrytest.Config{Robots: []registrytest.Robot{reader}}, change: login(reader.Name, reader.Secret), kind: fault.Denied,
			part: "robot$sandbox+ro may not push", hint: "project sandbox"},
		"project missing":       {repository: "nosuch/app", kind: fault.Failed, part: "project nosuch does not exist on ", hint: "--create-project"},
		"project missing, anon": {repository: "nosuch/app", change: login("", ""), kind: fault.Failed, part: "project nosuch does not exist on ", hint: "--create-project"},
		"immutable": {is: registry.ErrImmutable, config: registrytest.Config{Immutable: []string{"sandbox/app:1"}}, before: "sandbox/app:1", kind: fault.Failed,
			part: "the tag is immutable", hint: "new tag"},
		"quota": {is: registry.ErrQuota, config: registrytest.Config{Quota: map[string]int64{"sandbox": 100}}, kind: fault.Failed,
			part: "will exceed the configured upper limit of 100.0 B", hint: "quota"},
		"read-only":     {is: registry.ErrReadOnly, config: registrytest.Config{ReadOnly: true}, kind: fault.Denied, part: "read only mode", hint: "read-only mode"},
		"one segment":   {repository: "app", kind: fault.Failed, part: "invalid repository name", hint: ""},
		"proxy page":    {config: registrytest.Config{Instead: page(http.MethodPost, http.StatusOK)}, kind: fault.Failed, part: "not as a registry does", hint: "proxy"},
		"proxy limit":   {config: registrytest.Config{Instead: page(http.MethodPatch, http.StatusRequestEntityTooLarge)}, kind: fault.Failed, part: "answers 413", hint: "client_max_body_size"},
		"page for all":  {config: registrytest.Config{Instead: page("", http.StatusOK)}, kind: fault.Failed, part: "not as a registry does", hint: "A proxy or a web page"},
		"core down":     {config: registrytest.Config{Instead: page("", http.StatusBadGateway)}, kind: fault.Failed, part: "answers 502 Bad Gateway", hint: "pods"},
		"registry down": {config: registrytest.Config{Instead: nothing(http.MethodPost, http.StatusBadGateway)}, kind: fault.Failed, part: "answers 502 Bad Gateway", hint: "pods"},
	} {
		t.Run(name, func(t *testing.T) {
			s := harbor(t, tt.config)
			if tt.before != "" {
				if _, err := client(s).Push(t.Context(), streaming(t, empty.Image, "before"), []imageref.Ref{ref(t, "%s/%s", s.Host, tt.before)}); err != nil {
					t.Fatal(err)
				}
			}
			c := client(s)
			if tt.change != nil {
				c = client(s, tt.change)
			}
			repository := tt.repository
			if repository == "" {
				repository = "sandbox/app"
			}
			_, err := c.Push(t.Context(), streaming(t, empty.Image, "app"), []imageref.Ref{ref(t, "%s/%s:1", s.Host, repository)})
			check(t, err, tt.kind, tt.part, tt.hint)
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not known as %q", err, tt.is)
			}
			if missing, ok := errors.AsType[*registry.MissingProject](err); ok != (tt.repository == "nosuch/app") || ok && *missing != (registry.MissingProject{Host: s.Host, Project: "nosuch"}) {
				t.Errorf("the missing project is %+v", missing)
			}
			if err != nil && !strings.Contains(err.Error(), s.Host) {
				t.Errorf("error %v does not name %s", err, s.Host)
			}
		})
	}
}

// page answers requests of a method, or all, with a web page.
func page(method string, status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if method != "" && r.Method != method {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html><title>Welcome</title></html>")
		return true
	}
}

// nothing answers requests of a method with an empty body, as Harbor does when its registry is down.
func nothing(method string, status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == method {
			w.WriteHeader(status)
		}
		return r.Method == method
	}
}

// TestWrongLoginIsFoundFirst counts what a wrong password costs: one request that Harbor slows down, and no layer read.
func TestWrongLoginIsFoundFirst(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	c := client(s, login(robot, "wrong-pass"))
	img := streaming(t, empty.Image, "app")
	for range 2 {
		_, err := c.Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
		check(t, err, fault.Denied, "log in to "+s.Host+": the registry refused the login of robot$sandbox+ci", "HARBOR_PASSWORD")
	}
	var asked []string
	for _, r := range s.Requests() {
		asked = append(asked, r.Method+" "+r.Path+"?"+r.Query)
	}
	if diff := cmp.Diff([]string{"GET /v2/?", "GET /service/token?service=harbor-registry"}, asked); diff != "" {
		t.Error(diff)
	}
}

// TestMissingProjectBehindAProxy has a proxy drop headers that are empty: the body of a GET tells then.
func TestMissingProjectBehindAProxy(t *testing.T) {
	body := `{"errors":[{"code":"UNAUTHORIZED","message":"project nosuch not found: project nosuch not found"}]}`
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v2/nosuch/") {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, body)
		return true
	}})
	_, err := client(s).Digest(t.Context(), ref(t, "%s/nosuch/app:1", s.Host))
	check(t, err, fault.Failed, "project nosuch does not exist on "+s.Host, "--create-project")
	body = `{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository: nosuch/app, action: pull"}]}`
	_, err = client(s).Digest(t.Context(), ref(t, "%s/nosuch/app:1", s.Host))
	check(t, err, fault.Denied, "robot$sandbox+ci may not find there", "push and pull rights on project nosuch")
}

// TestPolicies has Harbor refuse to give an image out, as recorded (210-pull-unsigned, 236-pull-vulnerable).
func TestPolicies(t *testing.T) {
	for _, message := range []string{"The image is not signed by cosign.", "current image with 1 vulnerability cannot be pulled due to configured policy"} {
		s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusPreconditionFailed)
				io.WriteString(w, `{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"`+message+`"}]}`)
			}
			return strings.Contains(r.URL.Path, "/manifests/")
		}})
		_, err := client(s).Image(t.Context(), ref(t, "%s/sandbox/app:1", s.Host), v1.Platform{})
		check(t, err, fault.Failed, message, "exempt a CVE")
		_, byDigest := client(s).Digest(t.Context(), ref(t, "%s/sandbox/app:1", s.Host))
		check(t, byDigest, fault.Failed, message, "exempt a CVE")
		if !errors.Is(err, registry.ErrPolicy) {
			t.Errorf("error %v", err)
		}
	}
}

// TestClocksDisagree has a clock that is beyond the certificate's time.
func TestClocksDisagree(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{TLS: true})
	c := registry.New(registry.Options{RootCAs: pool(t, s.CA)})
	c.SetNow(func() time.Time { return time.Date(3000, 1, 2, 0, 0, 0, 0, time.UTC) })
	_, err := c.Digest(t.Context(), ref(t, "%s/sandbox/app:1", s.Host))
	check(t, err, fault.Failed, "valid from 1970-01-01 00:00 UTC to 2999-01-01 00:00 UTC, and the clock here says 3000-01-02 00:00 UTC", "clock")
}

func check(t *testing.T, err error, kind fault.Kind, part, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if fault.KindOf(err) != kind || !strings.Contains(err.Error(), part) {
		t.Errorf("kind %d, error %q; want kind %d, %q", fault.KindOf(err), err, kind, part)
	}
	if !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("hint %q, want %q", fault.HintOf(err), hint)
	}
	for _, word := range []string{secret, "wrong-pass", "_state=", "<html>"} {
		if strings.Contains(err.Error()+fault.HintOf(err), word) {
			t.Errorf("error %q tells %q", err, word)
		}
	}
}

// TestReadOnlyManifest has the blobs there already, so that only the manifest is refused: the case where read-only mode
// and quota look alike.
func TestReadOnlyManifest(t *testing.T) {
	readOnly, quota := false, false
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		write := r.Method != http.MethodGet && r.Method != http.MethodHead
		if write && (readOnly || quota && r.Method == http.MethodPut) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"errors":[{"code":"DENIED","message":"no"}]}`)
			return true
		}
		return false
	}})
	img := streaming(t, empty.Image, "app")
	push := func(tag string) error {
		_, err := client(s).Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/app:%s", s.Host, tag)})
		return err
	}
	if err := push("1"); err != nil {
		t.Fatal(err)
	}
	readOnly = true
	check(t, push("2"), fault.Denied, "DENIED", "read-only mode")
	readOnly, quota = false, true
	check(t, push("3"), fault.Failed, "DENIED", "quota")
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	plain := registrytest.Start(t, registrytest.Config{})
	secure := registrytest.Start(t, registrytest.Config{TLS: true, Names: []string{"harbor.test"}})
	_, plainPort, _ := net.SplitHostPort(plain.Host)
	_, securePort, _ := net.SplitHostPort(secure.Host)
	here := map[string]string{"harbor.test": "127.0.0.1", "other.test": "127.0.0.1"}
	for name, tt := range map[string]struct {
		host       string
		options    registry.Options
		part, hint string
	}{
		"refused":     {host: closed, part: "connection refused", hint: "running"},
		"no host":     {host: "harbor.invalid", part: "look up harbor.invalid: ", hint: "--resolve harbor.invalid:ADDRESS"},
		"unknown CA":  {host: "harbor.test:" + securePort, options: registry.Options{Resolve: here}, part: "not trusted here (CN=registrytest)", hint: "--k8s-ca"},
		"wrong name":  {host: "other.test:" + securePort, options: registry.Options{Resolve: here, RootCAs: pool(t, secure.CA)}, part: "other.test", hint: "certificate must name"},
		"plain http":  {host: "harbor.test:" + plainPort, options: registry.Options{Resolve: here}, part: "plain HTTP", hint: "--plain-http"},
		"private":     {host: "10.1.2.3:" + plainPort, options: registry.Options{Resolve: map[string]string{"10.1.2.3": "127.0.0.1"}}, part: "plain HTTP", hint: "--plain-http"},
		"loopback CA": {host: secure.Host, part: "not trusted here", hint: "--ca-file"},
	} {
		t.Run(name, func(t *testing.T) {
			c := registry.New(tt.options)
			c.Pauses()
			_, err := c.Image(t.Context(), ref(t, "%s/sandbox/app:1", tt.host), v1.Platform{})
			check(t, err, fault.Failed, tt.part, tt.hint)
			if !strings.Contains(err.Error(), tt.host) {
				t.Errorf("error %v does not name the host", err)
			}
		})
	}
}

// TestHungServer has a server that greets us, and then stands still: before its answer, or amid one.
func TestHungServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method, path string
		begin        bool // with an answer
	}{
		"token":    {method: http.MethodGet, path: "/service/token"},
		"manifest": {method: http.MethodGet, path: "/manifests/"},
		"body":     {method: http.MethodGet, path: "/manifests/", begin: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := make(chan struct{})
			s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != tt.method || !strings.Contains(r.URL.Path, tt.path) {
					return false
				}
				if tt.begin {
					w.(http.Flusher).Flush()
				}
				<-end
				return true
			}})
			defer close(end)
			c := client(s)
			c.SetPatience(time.Second)
			_, err := c.Image(t.Context(), ref(t, "%s/sandbox/app:1", s.Host), v1.Platform{})
			check(t, err, fault.Failed, "no sign of life from "+s.Host+" for 1s", "running")
		})
	}
}

func pool(t *testing.T, pem []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return p
}

func TestReachable(t *testing.T) {
	here := map[string]string{"harbor.test": "127.0.0.1"}
	secure := registrytest.Start(t, registrytest.Config{TLS: true, Names: []string{"harbor.test"}})
	plain := registrytest.Start(t, registrytest.Config{})
	_, securePort, _ := net.SplitHostPort(secure.Host)
	_, plainPort, _ := net.SplitHostPort(plain.Host)
	for host, options := range map[string]registry.Options{
		"harbor.test:" + securePort: {Resolve: here, RootCAs: pool(t, secure.CA)},
		"harbor.test:" + plainPort:  {Resolve: here, PlainHTTP: []string{"harbor.test:" + plainPort}},
	} {
		if _, err := registry.New(options).Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "%s/sandbox/app:1", host)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// TestPushAnsweredByAPage has the blobs there, so that only the manifest goes to the page.
func TestPushAnsweredByAPage(t *testing.T) {
	digest := ""
	status := http.StatusOK
	away := false
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !away || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		if digest != "" && r.Method == http.MethodPut {
			w.Header().Set("Docker-Content-Digest", digest)
		}
		w.WriteHeader(status)
		return true
	}})
	img := streaming(t, empty.Image, "app")
	push := func() error {
		_, err := client(s).Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
		return err
	}
	if err := push(); err != nil {
		t.Fatal(err)
	}
	away = true
	check(t, push(), fault.Failed, "answers 200, but keeps nothing", "A proxy or a web page")
	digest = "sha256:" + strings.Repeat("a", 64)
	check(t, push(), fault.Failed, "content and digest disagree", "")
	real, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	digest = real.String()
	if err := push(); err != nil {
		t.Errorf("200 with the digest: %v", err)
	}
}

// TestDistribution pushes to a registry of another make, where there is one.
func TestDistribution(t *testing.T) {
	s := distribution(t)
	c := registry.New(registry.Options{})
	r := ref(t, "%s/sandbox/app:1", s)
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "a", "b"), []imageref.Ref{r}); err != nil {
		t.Fatal(err)
	}
	base, err := c.Image(t.Context(), r, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := c.Push(t.Context(), streaming(t, base, "c"), []imageref.Ref{ref(t, "%s/sandbox/other:1", s)})
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(receipt); len(got) != 3 || got[0] != "mounted" || got[2] != "pushed" {
		t.Errorf("statuses %v", got)
	}
	if err := validate.Image(base); err != nil {
		t.Error(err)
	}
	want, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Digest(t.Context(), r); got != want.String() || err != nil {
		t.Errorf("digest %s, %v, want %s", got, err, want)
	}
	r.Tag = "nosuch"
	if _, err := c.Digest(t.Context(), r); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
}
