package access_test

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/kubetest"
	"github.com/ksera524/imgbump/internal/registry"
)

const canary = "C4naryOfTheCluster"

func docker(host, user string) string {
	return fmt.Sprintf(`%q:{"auth":%q}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+canary)))
}

// secrets are those of the cluster that cluster starts.
var secrets = map[string]kubetest.Secret{
	"arc-systems/harbor-auth": {Data: map[string]string{
		"HARBOR_USERNAME": "admin\n", "HARBOR_PASSWORD": canary + "\n", "HARBOR_URL": "https://harbor.test:8443\n", "HARBOR_PROJECT": "sandbox\n",
	}},
	"arc-systems/login":  {Data: map[string]string{"HARBOR_USERNAME": "admin", "HARBOR_PASSWORD": canary}},
	"arc-systems/place":  {Data: map[string]string{"HARBOR_URL": "harbor.test", "HARBOR_PROJECT": "sandbox"}},
	"arc-systems/leak":   {Data: map[string]string{"HARBOR_URL": "https://u:" + canary + "@harbor.test"}},
	"arc-systems/other":  {Data: map[string]string{"user": "admin", "password": canary}},
	"arc-systems/one":    {Type: "kubernetes.io/dockerconfigjson", Data: map[string]string{".dockerconfigjson": `{"auths":{` + docker("https://harbor.test/v2/", "one") + `}}`}},
	"arc-systems/two":    {Type: "kubernetes.io/dockerconfigjson", Data: map[string]string{".dockerconfigjson": `{"auths":{` + docker("harbor.test", "one") + "," + docker("https://index.docker.io/v1/", "two") + `}}`}},
	"arc-systems/plain":  {Type: "kubernetes.io/dockerconfigjson", Data: map[string]string{".dockerconfigjson": `{"auths":{"harbor.test":{"username":"one","password":"` + canary + `"}}}`}},
	"arc-systems/broken": {Type: "kubernetes.io/dockerconfigjson", Data: map[string]string{".dockerconfigjson": `"` + canary + `"`}},
	"arc-systems/hidden": {},
}

// cluster starts an API server and returns the environment that names it.
func cluster(t *testing.T) map[string]string {
	t.Helper()
	account := kubetest.Account{User: "system:serviceaccount:runners:ci", Token: "T0ken", May: []string{"cert-manager/ca-key-pair"}}
	for name := range secrets {
		if name != "arc-systems/hidden" {
			account.May = append(account.May, name)
		}
	}
	all := maps.Clone(secrets)
	s := kubetest.New(kubetest.Config{Accounts: []kubetest.Account{account}, Secrets: all})
	t.Cleanup(s.Close)
	all["cert-manager/ca-key-pair"] = kubetest.Secret{Type: "kubernetes.io/tls", Data: map[string]string{"ca.crt": string(s.CA()), "tls.key": canary}}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(s.Kubeconfig(account.Token)), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"KUBECONFIG": file, "GITHUB_ACTIONS": "true"}
}

// TestSecret has Secrets of each kind, with and without an environment that wins.
func TestSecret(t *testing.T) {
	env := cluster(t)
	own := registry.Credential{Host: "harbor.test:8443", Username: "admin", Password: canary}
	for name, tt := range map[string]struct {
		secret  string
		env     map[string]string
		args    []string
		typed   string
		want    string // the reference
		login   registry.Credential
		plainly []string
	}{
		"all of it":        {secret: "harbor-auth", typed: "app:1", want: "harbor.test:8443/sandbox/app:1", login: own},
		"another project":  {secret: "harbor-auth", args: []string{"--project", "mine"}, typed: "app:1", want: "harbor.test:8443/mine/app:1", login: own},
		"another registry": {secret: "harbor-auth", typed: "other.test/team/app:1", want: "other.test/team/app:1", login: own},
		"variables win": {secret: "harbor-auth", env: map[string]string{"HARBOR_URL": "http://near.test", "HARBOR_PROJECT": "p", "HARBOR_USERNAME": "u", "HARBOR_PASSWORD": "p"},
			typed: "app:1", want: "near.test/p/app:1", login: registry.Credential{Host: "near.test", Username: "u", Password: "p"}, plainly: []string{"near.test"}},
		"no address":       {secret: "login", typed: "first.test/a/b:1", want: "first.test/a/b:1", login: registry.Credential{Host: "first.test", Username: "admin", Password: canary}},
		"no login":         {secret: "place", env: map[string]string{"HARBOR_USERNAME": "u", "HARBOR_PASSWORD": "p"}, typed: "app:1", want: "harbor.test/sandbox/app:1", login: registry.Credential{Host: "harbor.test", Username: "u", Password: "p"}},
		"docker":           {secret: "one", typed: "sandbox/app:1", want: "harbor.test/sandbox/app:1", login: registry.Credential{Host: "harbor.test", Username: "one", Password: canary}},
		"docker, in plain": {secret: "plain", typed: "other.test/sandbox/app:1", want: "other.test/sandbox/app:1", login: registry.Credential{Host: "harbor.test", Username: "one", Password: canary}},
		"docker, Hub":      {secret: "two", typed: "docker.io/team/app:1", want: "docker.io/team/app:1", login: registry.Credential{Host: "docker.io", Username: "two", Password: canary}},
		"docker, chosen": {secret: "two", env: map[string]string{"HARBOR_URL": "https://Harbor.test"}, typed: "docker.io/team/app:1", want: "docker.io/team/app:1",
			login: registry.Credential{Host: "Harbor.test", Username: "one", Password: canary}},
	} {
		t.Run(name, func(t *testing.T) {
			vars := maps.Clone(env)
			maps.Copy(vars, tt.env)
			c, stderr := console(vars, "")
			f := parse(t, append(tt.args, "--k8s-secret", "arc-systems/"+tt.secret)...)
			refs, err := f.References(t.Context(), c, []string{tt.typed})
			if err != nil || refs[0].String() != tt.want {
				t.Fatalf("%v, %v", refs, err)
			}
			options, err := f.Options(t.Context(), c, refs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.login, options.Credential) + cmp.Diff(tt.plainly, options.PlainHTTP); diff != "" {
				t.Error(diff)
			}
			if n := strings.Count(stderr.String(), canary); n != strings.Count(stderr.String(), "::add-mask::"+canary) || strings.Contains(tt.login.Password, canary) && n == 0 {
				t.Errorf("the password is told, or not masked: %s", stderr)
			}
		})
	}
}

// TestSecretRefused has Secrets that are of no use; no error tells what they hold.
func TestSecretRefused(t *testing.T) {
	env := cluster(t)
	for _, tt := range []struct {
		flag, value string
		kind        fault.Kind
		part, hint  string
	}{
		{"k8s-secret", "arc-systems/hidden", fault.Denied, "system:serviceaccount:runners:ci may not get it", "verbs: [get]"},
		{"k8s-secret", "arc-systems/other", fault.Failed, "no HARBOR_* keys", "it has: password, user"},
		{"k8s-secret", "arc-systems/broken", fault.Failed, "no Docker configuration", "docker-registry"},
		{"k8s-secret", "arc-systems/leak", fault.Usage, "HARBOR_URL in secret arc-systems/leak holds a login", "HARBOR_PASSWORD"},
		{"k8s-secret", "arc-systems/place", fault.Failed, "is missing in it", "add the keys"},
		{"k8s-secret", "arc-systems/two", fault.Failed, `no user and password for "first.test"`, "docker.io, harbor.test"},
		{"k8s-ca", "arc-systems/hidden/ca.crt", fault.Denied, "may not get it", "resourceNames: [hidden]"},
		{"k8s-ca", "arc-systems/other/ca.crt", fault.Failed, "it has no key ca.crt", "password, user"},
		{"k8s-ca", "arc-systems/other/password", fault.Usage, "key password of secret arc-systems/other holds no certificate", "BEGIN CERTIFICATE"},
	} {
		c, stderr := console(env, "")
		_, err := parse(t, "--"+tt.flag, tt.value).Options(t.Context(), c, []imageref.Ref{{Registry: "first.test", Repository: "a/b"}})
		if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.part) || !strings.Contains(fault.HintOf(err), tt.hint) {
			t.Errorf("%s: error %v, hint %q", tt.value, err, fault.HintOf(err))
		}
		if said := strings.ReplaceAll(stderr.String(), "::add-mask::"+canary, ""); err != nil && strings.Contains(err.Error()+fault.HintOf(err)+said, canary) {
			t.Errorf("%s: a secret is told", tt.value)
		}
	}
}

// TestClusterCA trusts an authority that a Secret has, beside those of a file.
func TestClusterCA(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	c, _ := console(cluster(t), "")
	options, err := parse(t, "--k8s-ca", "cert-manager/ca-key-pair/ca.crt").Options(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Certificate().Verify(x509.VerifyOptions{Roots: options.RootCAs}); err != nil {
		t.Error(err)
	}
}

// TestSecretNames are refused when flags are read, whether or not a registry is asked.
func TestSecretNames(t *testing.T) {
	for _, args := range [][]string{{"--k8s-secret", "harbor-auth"}, {"--k8s-secret", "a/b/c"}, {"--k8s-secret="}, {"--k8s-ca", "cert-manager/ca-key-pair"}, {"--k8s-ca", "a/b/"}, {"--k8s-ca", "ca.crt"}} {
		var f access.Flags
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		f.Bind(flags)
		if err := flags.Parse(args); err == nil || !strings.Contains(err.Error(), "is not NAMESPACE/NAME") {
			t.Errorf("%v: error %v", args, err)
		}
	}
}
