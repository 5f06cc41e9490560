package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/kubetest"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestUpdateSettings has what imgbump.yaml says of registries: a pull secret of the cluster, and an authority beside it.
func TestUpdateSettings(t *testing.T) {
	s := harborOf(t, registrytest.Config{TLS: true, Instead: lists("1.0.0", "1.1.0")})
	other := registrytest.Start(t, registrytest.Config{Instead: lists("1.0.0", "1.1.0")})
	auth := base64.StdEncoding.EncodeToString([]byte(robot + ":" + robotPassword))
	cluster := kubetest.New(kubetest.Config{
		Accounts: []kubetest.Account{{User: "u", Token: "T", May: []string{"apps/pull"}}},
		Secrets: map[string]kubetest.Secret{"apps/pull": {Type: "kubernetes.io/dockerconfigjson",
			Data: map[string]string{".dockerconfigjson": fmt.Sprintf(`{"auths":{"https://%s":{"auth":%q}}}`, s.Host, auth)}}},
	})
	t.Cleanup(cluster.Close)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(kubeconfig, []byte(cluster.Kubeconfig("T")), 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"imgbump.yaml": fmt.Sprintf("version: 1\nregistries:\n- {prefix: %q, credentials: pullsecret:apps/pull, ca-file: ca.pem}\n- {prefix: %q, credentials: pullsecret:apps/pull, limit: 900}\n"+
			"images:\n- {name: %s/team/app, policy: {}}\n- {name: %s/team/app, policy: {}}\n", s.Host, other.Host, s.Host, other.Host),
		"ca.pem": string(s.CA),
		"a.yaml": fmt.Sprintf("a: {image: %s/team/app:1.0.0}\nb: {image: %s/team/app:1.0.0}\n", s.Host, other.Host),
	}
	update := func() (d setDocument, stderr string, code int) {
		return runUpdateIn(t, map[string]string{"KUBECONFIG": kubeconfig}, files)
	}
	d, stderr, code := update()
	if code != 0 || len(d.Changes) != 2 || !strings.Contains(stderr, "pull secret apps/pull has no login for "+other.Host) {
		t.Errorf("exit %d, %+v; %s", code, d, stderr)
	}
	for _, r := range other.Requests() {
		if r.Authorization != "" {
			t.Errorf("the other registry sees %s", r.Authorization)
		}
	}
	// The authority counts for its registry alone, and has to be there.
	files["ca.pem"] = "no certificate"
	if _, stderr, code = update(); code != 2 || !strings.Contains(stderr, "the CA of "+s.Host+" holds no certificate") {
		t.Errorf("exit %d; %s", code, stderr)
	}
	delete(files, "ca.pem")
	if _, stderr, code = update(); code != 2 || !strings.Contains(stderr, "read ca.pem for imgbump.yaml:3") {
		t.Errorf("exit %d; %s", code, stderr)
	}
}
