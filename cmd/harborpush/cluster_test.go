package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/kubetest"
)

// clusterToken is that of the service account that scripts run as.
const clusterToken = "T0kenOfTheRunner"

// startCluster, as cluster URL, starts an API server and sets KUBECONFIG. Its Secrets are arc-systems/harbor-auth with the
// login for Harbor at URL and project team, arc-systems/regcred with the same login for the host only,
// cert-manager/ca-key-pair with ca.pem, and arc-systems/hidden, which the account may not read.
func startCluster(ts *testscript.TestScript, neg bool, args []string) {
	_, host, _ := strings.Cut(args[0], "://")
	login := base64.StdEncoding.EncodeToString([]byte(robot + ":" + password))
	secrets := map[string]kubetest.Secret{
		"arc-systems/harbor-auth": {Data: map[string]string{"HARBOR_USERNAME": robot, "HARBOR_PASSWORD": password, "HARBOR_URL": args[0], "HARBOR_PROJECT": "team"}},
		"arc-systems/regcred": {Type: "kubernetes.io/dockerconfigjson",
			Data: map[string]string{".dockerconfigjson": fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, login)}},
		"arc-systems/hidden": {},
	}
	if ca, err := os.ReadFile(ts.MkAbs("ca.pem")); err == nil {
		secrets["cert-manager/ca-key-pair"] = kubetest.Secret{Type: "kubernetes.io/tls", Data: map[string]string{"ca.crt": string(ca)}}
	}
	account := kubetest.Account{User: "system:serviceaccount:arc-runners:runner", Token: clusterToken}
	for name := range secrets {
		if name != "arc-systems/hidden" {
			account.May = append(account.May, name)
		}
	}
	s := kubetest.New(kubetest.Config{Accounts: []kubetest.Account{account}, Secrets: secrets})
	ts.Defer(s.Close)
	ts.Check(os.WriteFile(ts.MkAbs("kubeconfig"), []byte(s.Kubeconfig(account.Token)), 0o600))
	ts.Setenv("KUBECONFIG", ts.MkAbs("kubeconfig"))
}

// inherited FILE holds that what a child process wrote of its environment has no secret.
func inherited(ts *testscript.TestScript, neg bool, args []string) {
	if env := ts.ReadFile(args[0]); !strings.Contains(env, "PATH=") || strings.Contains(env, password) || strings.Contains(env, clusterToken) {
		ts.Fatalf("the child process inherits\n%s", env)
	}
}
