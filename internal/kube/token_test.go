package kube

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/kubetest"
)

// A token that is replaced in its file is followed, whatever names the file.
func TestTokenReplaced(t *testing.T) {
	s := start(t, kubetest.Config{})
	folder := write(t, map[string]string{"token": "first\n", "ca.crt": string(s.CA()), "config": `
current-context: home
contexts: [{name: home, context: {cluster: home, user: ci}}]
clusters: [{name: home, cluster: {server: "https://cluster.test"}}]
users: [{name: ci, user: {tokenFile: token}}]
`})
	t.Chdir(folder)
	for name, opened := range map[string]func() (*Cluster, error){
		"a pod": func() (*Cluster, error) { return inPod("cluster.test", folder) },
		"a kubeconfig": func() (*Cluster, error) {
			return Open(environment(map[string]string{"KUBECONFIG": filepath.Join(folder, "config")}), "test/1")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			write := func(token string) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(folder, "token"), []byte(token), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("first\n")
			c, err := opened()
			if err != nil {
				t.Fatal(err)
			}
			signed := func(want string) {
				t.Helper()
				r := &http.Request{Header: http.Header{}, URL: &url.URL{}}
				c.sign(r)
				if got := r.Header.Get("Authorization"); got != "Bearer "+want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
			signed("first")
			write("second")
			signed("first")
			time.Sleep(time.Minute + 1)
			signed("second")
			write("") // it is being replaced
			time.Sleep(time.Minute + 1)
			signed("second")
			write("third")
			signed("third")
		})
	}
}
