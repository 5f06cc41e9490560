package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/kubetest"
)

const token = "T0kenOfTheRunner"

var harborAuth = Name{"arc-systems", "harbor-auth"}

func start(t *testing.T, config kubetest.Config) *kubetest.Server {
	t.Helper()
	if config.Accounts == nil {
		config.Accounts = []kubetest.Account{{User: "system:serviceaccount:runners:ci", Token: token, May: []string{"arc-systems/harbor-auth", "arc-systems/nosuch"}}}
	}
	config.Secrets = map[string]kubetest.Secret{
		"arc-systems/harbor-auth": {Data: map[string]string{"HARBOR_USERNAME": "admin"}},
		"other/harbor-auth":       {Data: map[string]string{"HARBOR_USERNAME": "other"}},
	}
	s := kubetest.New(config)
	t.Cleanup(s.Close)
	return s
}

// write makes files below a new folder, with REPLACE in their content replaced.
func write(t *testing.T, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// read opens the cluster of a kubeconfig and reads a secret.
func read(t *testing.T, kubeconfig string, name Name) (Secret, error) {
	t.Helper()
	c, err := Open(environment(map[string]string{"KUBECONFIG": kubeconfig}), "test/1")
	if err != nil {
		return Secret{}, err
	}
	return c.Secret(t.Context(), name)
}

var want = Secret{Type: "Opaque", Data: map[string][]byte{"HARBOR_USERNAME": []byte("admin")}}

// TestMain leaves out the proxies of the machine.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// TestInPod reads as the pod's service account, without any proxy.
func TestInPod(t *testing.T) {
	agent := ""
	s := start(t, kubetest.Config{Instead: func(_ http.ResponseWriter, r *http.Request) bool {
		agent = r.UserAgent()
		return false
	}})
	account := write(t, map[string]string{"token": token + "\n", "ca.crt": string(s.CA())})
	host, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	c, err := open(environment(map[string]string{"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "HOME": t.TempDir()}), account)
	if err != nil {
		t.Fatal(err)
	}
	c.agent = "test/1"
	if c.http.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy may stand between the pod and its cluster")
	}
	got, err := c.Secret(t.Context(), harborAuth)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if agent != "test/1" {
		t.Errorf("user agent %q", agent)
	}
	os.Remove(filepath.Join(account, "token"))
	_, err = open(environment(map[string]string{"KUBERNETES_SERVICE_HOST": host}), account)
	if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.HintOf(err), "automountServiceAccountToken") {
		t.Errorf("no token: %v", err)
	}
}

// TestKubeconfig has each way in which kubectl's configuration names authority and user.
func TestKubeconfig(t *testing.T) {
	s := start(t, kubetest.Config{Accounts: []kubetest.Account{{User: "jane", Token: token, May: []string{harborAuth.String()}}}})
	certificate, key := s.ClientCertificate()
	ca := "certificate-authority-data: " + base64.StdEncoding.EncodeToString(s.CA())
	files := map[string]string{"ca.pem": string(s.CA()), "cert.pem": string(certificate), "key.pem": string(key), "token.txt": token + "\n"}
	for name, tt := range map[string]struct{ cluster, user string }{
		"token":             {ca, "token: " + token},
		"token file":        {ca, "tokenFile: token.txt, token: outdated"},
		"password":          {ca, "username: jane, password: " + token},
		"authority's file":  {"certificate-authority: ca.pem", "token: " + token},
		"server name":       {ca + ", tls-server-name: example.com", "token: " + token},
		"certificate files": {ca, "client-certificate: cert.pem, client-key: key.pem"},
		"certificate": {ca, "client-certificate-data: " + base64.StdEncoding.EncodeToString(certificate) +
			", client-key-data: " + base64.StdEncoding.EncodeToString(key)},
	} {
		t.Run(name, func(t *testing.T) {
			files["config"] = "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n" +
				"clusters: [{name: c, cluster: {server: '" + s.URL + "', " + tt.cluster + "}}]\nusers: [{name: u, user: {" + tt.user + "}}]\n"
			got, err := read(t, filepath.Join(write(t, files), "config"), harborAuth)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// TestProxy goes through the cluster's own proxy, which refuses here.
func TestProxy(t *testing.T) {
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	s := start(t, kubetest.Config{})
	config := strings.Replace(s.Kubeconfig(token), "    server:", "    proxy-url: "+proxy.URL+"\n    server:", 1)
	_, err := read(t, filepath.Join(write(t, map[string]string{"config": config}), "config"), harborAuth)
	check(t, err, fault.Failed, "reach the API server 127.0.0.1:", "context home")
	if asked != "CONNECT "+s.Listener.Addr().String() {
		t.Errorf("the proxy was asked for %s", asked)
	}
}

// TestMerged has a context, a cluster and a user in three files; the first that has a name has it.
func TestMerged(t *testing.T) {
	s := start(t, kubetest.Config{})
	whole := s.Kubeconfig(token)
	folder := write(t, map[string]string{
		"a": "current-context: mine\ncontexts: [{name: mine, context: {cluster: home, user: ci}}]\n",
		"b": "users: [{name: ci, user: {token: " + token + "}}]\n",
		"c": strings.ReplaceAll(whole, token, "outdated"),
	})
	list := strings.Join([]string{filepath.Join(folder, "nosuch"), filepath.Join(folder, "a"), filepath.Join(folder, "b"), filepath.Join(folder, "c")}, string(filepath.ListSeparator))
	if _, err := read(t, list, harborAuth); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(folder, ".kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, ".kube", "config"), []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open(environment(map[string]string{"HOME": folder, "KUBERNETES_SERVICE_HOST": "192.0.2.1"}), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secret(t.Context(), harborAuth); err != nil {
		t.Errorf("~/.kube/config: %v", err)
	}
}

// TestConfigurationRefused has files that cannot be used, or must not; no error repeats what may be a secret.
func TestConfigurationRefused(t *testing.T) {
	const head = "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
	cluster := func(keys string) string { return "clusters: [{name: c, cluster: {" + keys + "}}]\n" }
	user := func(keys string) string { return "users: [{name: u, user: {" + keys + "}}]\n" }
	fine := cluster("server: 'https://127.0.0.1:1'")
	for part, config := range map[string]string{
		`no context "c"`:                    "current-context: c\n",
		`names cluster "c"`:                 head + user("token: s3cret"),
		`names user "u"`:                    head + fine,
		"no https:// address":               head + cluster("server: 'http://192.0.2.1'") + user("token: s3cret"),
		"server of cluster c is no https":   head + cluster("server: 'https://u:s3cret@192.0.2.1'") + user(""),
		"insecure-skip-tls-verify":          head + cluster("server: 'https://192.0.2.1', insecure-skip-tls-verify: true") + user("token: s3cret"),
		"with a plugin (aws)":               head + fine + user("exec: {command: aws, args: [s3cret]}"),
		"with a plugin (gcp)":               head + fine + user("auth-provider: {name: gcp}"),
		"acts as another (admin)":           head + fine + user("token: s3cret, as: admin"),
		"it holds no certificate":           head + cluster("server: 'https://127.0.0.1:1', certificate-authority-data: YQ==") + user(""),
		"no base64":                         head + cluster("server: 'https://127.0.0.1:1', certificate-authority-data: '!s3cret'") + user(""),
		"client certificate of user u":      head + fine + user("client-certificate-data: YQ=="),
		"nosuch: no such file":              head + fine + user("tokenFile: nosuch"),
		"proxy-url of cluster c":            head + cluster("server: 'https://127.0.0.1:1', proxy-url: 'http://u:%s3cret@x'") + user(""),
		"a key has a value of the wrong ty": head + fine + "users: s3cret\n",
		"did not find expected":             "a: [s3cret",
	} {
		file := filepath.Join(write(t, map[string]string{"config": config}), "config")
		_, err := read(t, file, harborAuth)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), file) || fault.HintOf(err) == "" {
			t.Errorf("error %v, want %q", err, part)
		}
		if err != nil && strings.Contains(err.Error()+fault.HintOf(err), "s3cret") {
			t.Errorf("error %v tells a secret", err)
		}
	}
	for part, env := range map[string]map[string]string{
		"names no file that is there": {"KUBECONFIG": "/nosuch/config", "KUBERNETES_SERVICE_HOST": "192.0.2.1"},
		"no cluster is known":         {"HOME": t.TempDir()},
	} {
		if _, err := Open(environment(env), ""); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q", err, part)
		}
	}
}

// TestRefused holds what people are told when the API server says no.
func TestRefused(t *testing.T) {
	const missingRole = `  resources: [secrets]
  resourceNames: [harbor-auth]
  verbs: [get]`
	page := func(status int, location string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", location)
			w.WriteHeader(status)
			return true
		}
	}
	for name, tt := range map[string]struct {
		config kubetest.Config
		token  string
		name   Name
		kind   fault.Kind
		part   string
		hints  []string
	}{
		"forbidden": {name: Name{"other", "harbor-auth"}, kind: fault.Denied, part: "read secret other/harbor-auth: system:serviceaccount:runners:ci may not get it",
			hints: []string{"metadata: {namespace: other, name: read-harbor-auth}", missingRole, "- {kind: ServiceAccount, namespace: runners, name: ci}"}},
		"forbidden to a user": {config: kubetest.Config{Accounts: []kubetest.Account{{User: "jane", Token: token}}}, name: harborAuth, kind: fault.Denied,
			part: "jane may not get it", hints: []string{`- {kind: User, name: "jane", apiGroup: rbac.authorization.k8s.io}`}},
		"wrong token":    {token: "wr0ngToken", name: harborAuth, kind: fault.Denied, part: "does not accept our login", hints: []string{"may have expired"}},
		"missing secret": {name: Name{"arc-systems", "nosuch"}, part: "read secret arc-systems/nosuch: the cluster has no such secret", hints: []string{"--namespace arc-systems"}},
		"a web page":     {config: kubetest.Config{Instead: page(http.StatusOK, "")}, name: harborAuth, part: "not as an API server does", hints: []string{"login page"}},
		"a redirect":     {config: kubetest.Config{Instead: page(http.StatusFound, "https://login.example.com/")}, name: harborAuth, part: "answers 302 Found", hints: []string{"login page"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, tt.config)
			if tt.token == "" {
				tt.token = token
			}
			_, err := read(t, filepath.Join(write(t, map[string]string{"config": s.Kubeconfig(tt.token)}), "config"), tt.name)
			check(t, err, tt.kind, tt.part, tt.hints...)
		})
	}
}

func check(t *testing.T, err error, kind fault.Kind, part string, hints ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), part) {
		t.Fatalf("kind %d, error %v; want kind %d, %q", fault.KindOf(err), err, kind, part)
	}
	for _, hint := range hints {
		if !strings.Contains(fault.HintOf(err), hint) {
			t.Errorf("hint %s\nwant %s", fault.HintOf(err), hint)
		}
	}
	if said := err.Error() + fault.HintOf(err); strings.Contains(said, token) || strings.Contains(said, "wr0ngToken") {
		t.Errorf("error %v tells the token", err)
	}
}

func TestUnreachable(t *testing.T) {
	s := start(t, kubetest.Config{})
	config := s.Kubeconfig(token)
	for part, changed := range map[string]string{
		"authority that is not trusted": strings.Split(config, "    certificate-authority-data")[0] + "users: [{name: ci, user: {token: " + token + "}}]\n",
		"look up cluster.invalid":       strings.ReplaceAll(config, s.URL, "https://cluster.invalid"),
		"connection refused":            strings.ReplaceAll(config, s.URL, "https://127.0.0.1:1"),
	} {
		_, err := read(t, filepath.Join(write(t, map[string]string{"config": changed}), "config"), harborAuth)
		check(t, err, fault.Failed, part, "context home of ")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := Open(environment(map[string]string{"KUBECONFIG": filepath.Join(write(t, map[string]string{"config": config}), "config")}), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secret(ctx, harborAuth); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestParseName(t *testing.T) {
	if got, err := ParseName("arc-systems/harbor-auth"); err != nil || got != harborAuth {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "a", "a/", "/a", "a/b/c", "A/b", "a/b c", "../b", "a/-b", "a/" + strings.Repeat("b", 254)} {
		if _, err := ParseName(s); err == nil {
			t.Errorf("%q is no name", s)
		}
	}
}
