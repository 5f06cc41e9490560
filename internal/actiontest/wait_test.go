package actiontest

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/gittest"
)

const argoToken = "T0kenOfTheAccount"

// TestWait bumps an image, and waits for the commit in an Argo CD that comes to the branch's tip when it is asked to.
func TestWait(t *testing.T) {
	r := newRunner(t)
	server, err := gittest.Start(gittest.Options{Username: "x-access-token", Password: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	origin, err := server.Create("acme/gitops.git")
	if err != nil {
		t.Fatal(err)
	}
	argo := &argotest.Server{Token: argoToken}
	web := func(health string) {
		tip, err := origin.Tip("main")
		if err != nil {
			t.Error(err)
		}
		a := argotest.State{Sync: "Synced", Rev: tip, Health: health}.Application("web")
		a.Spec.Source.Repository = origin.URL
		argo.Put(a)
	}
	var health atomic.Value
	health.Store("Healthy")
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("refresh") != "" {
			web(health.Load().(string))
		}
		argo.ServeHTTP(w, r)
	}))
	t.Cleanup(at.Close)
	t.Cleanup(at.CloseClientConnections)

	r.write(t, "web/deployment.yaml", "image: team/web:1\n")
	r.write(t, "apps/web.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: argocd}\n"+
		"spec: {project: default, source: {repoURL: '"+origin.URL+"', targetRevision: main, path: web}}\n")
	r.write(t, "deploy.yml", `on: [push]
jobs:
  deploy:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v6
      - uses: ./
        with: {images: 'team/web:${{ vars.VERSION }}', branch: main, wait: true, argocd-server: '${{ vars.ARGOCD }}', argocd-token: '${{ secrets.ARGOCD_TOKEN }}', wait-timeout: 2s}
`)
	r.git(t, "init", "--quiet")
	r.git(t, "add", ".")
	r.git(t, "commit", "--quiet", "--message=all")
	r.git(t, "push", "--quiet", origin.Dir, "HEAD:refs/heads/main")
	web(health.Load().(string))

	stubs, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	deploy := func(version string) (string, error) {
		home, _, _ := strings.Cut(origin.URL, "/acme")
		log, failed := r.act(t, "deploy.yml", "--no-skip-checkout", "--insecure-secrets", "--local-repository", "actions/checkout@v6="+filepath.Join(stubs, "checkout"),
			"--env", "STUB_REMOTE="+origin.URL, "--env", "STUB_SERVER="+home, "--env", "IMGBUMP_BIN="+binaries(t), "--var", "VERSION="+version, "--var", "ARGOCD="+at.URL,
			"-s", "GITHUB_TOKEN="+token, "-s", "ARGOCD_TOKEN="+argoToken)
		if strings.Contains(log, argoToken) && !strings.Contains(log, "::add-mask::"+argoToken) {
			t.Errorf("the log shows the token:\n%s", log)
		}
		return log, failed
	}
	log, err := deploy("2")
	if err != nil || !strings.Contains(log, "imgbump: web: live") {
		t.Errorf("%v\n%s", err, log)
	}
	health.Store("Progressing")
	if log, err = deploy("3"); err == nil || !strings.Contains(log, "is not live in 1 of 1 applications after 2s: web: progressing") {
		t.Errorf("%v\n%s", err, log)
	}
}
